"""Everything works through a transaction-mode pooler: nothing is prepared there, nothing kept in a session."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from mailproxy import config
from mailproxy.config import Settings
from mailproxy.errors import StorageUnavailable
from mailproxy.model import AccountCondition, State
from mailproxy.records import AccountWrite, TenantWrite
from mailproxy.reports import CallSettled
from sql import migrate
from sql.engine import one
from sql.open import open_store
from tests.sql.conftest import World, back, failed, sent, unknown
from tests.sql.stores import on_postgres, works_again
from tests.support import pgbouncer

pytestmark = [
    pytest.mark.parametrize("dialect", ["postgres"], indirect=True),
    pytest.mark.skipif(pgbouncer.found() is None, reason=pgbouncer.ENABLE),
]


@pytest.fixture
def pooler(empty_environ: dict[str, str]) -> Iterator[pgbouncer.Pooler]:
    with pgbouncer.pooler(empty_environ["GMP_DATABASE_URL"]) as one:
        yield one


@pytest.fixture
def pooled(empty_environ: dict[str, str], pooler: pgbouncer.Pooler) -> Settings:
    settings = config.load(empty_environ | {"GMP_DATABASE_URL": pooler.url})
    migrate.migrate(settings.database)
    return settings


@pytest.fixture
async def world(pooled: Settings) -> AsyncIterator[World]:
    store = await open_store(pooled, role="test")
    try:
        await store.directory.put_tenant(
            TenantWrite(id="acme", client_base_url="http://127.0.0.1:1"), b"h" * 32, "k"
        )
        tenant = await store.directory.tenant("acme")
        assert tenant is not None
        account = AccountWrite(id="main", host="h", port=25, password="x", limit_per_hour=1000)
        yield World(store, tenant.pk, await store.directory.put_account(tenant.pk, account))
    finally:
        await store.aclose()


async def test_a_message_makes_its_way(world: World) -> None:
    await world.post("a", "b", "c", "d", payload="x" * 300_000)
    sender = await world.sender()
    a, b, c, d = await sender.claim()
    assert len(await sender.intend(a, b, c, limited=True)) == 3
    await sender.settle(sent(a), failed(b), unknown(c), back(d, delay=60.0))
    states = [await world.state(id_) for id_ in "abcd"]
    assert states == [State.SENT, State.ERROR, State.UNKNOWN, State.DEFERRED]
    reports = world.store.reports
    (call,) = await reports.claim_tenants(sender.epoch, limit=5, ttl=60, interval=300, fallback=False)
    events = [report.event_id for report in await reports.pending(call.tenant_pk, 10)]
    assert await reports.acknowledge(call.tenant_pk, sender.epoch, events) == 3
    await reports.settle_call(call.tenant_pk, sender.epoch, CallSettled(fails=0, called=True))


async def test_nothing_is_prepared_behind_a_pooler(
    empty_environ: dict[str, str], pooler: pgbouncer.Pooler
) -> None:
    assert await preparations(pooler.url) == 0
    assert await preparations(empty_environ["GMP_DATABASE_URL"]) > 0


async def preparations(url: str) -> int:
    """How many statements a connection holds after one was asked for often."""
    asked = "SELECT count(*) FROM pg_prepared_statements WHERE NOT from_sql"
    async with on_postgres(url, connections=1, asked=asked) as store:
        for _ in range(10):
            ((count,),) = await store.engine.write(lambda: one("asked"))
    return int(count)


async def test_suspending_recovering_and_resting_work(world: World) -> None:
    await world.post("a", "b", batch_code="x")
    sender = await world.sender()
    await sender.intend((await sender.claim(limit=1))[0])
    await world.store.directory.suspend(world.tenant, "x")
    await world.store.directory.activate(world.tenant, "x")
    await sender.lose_lease()
    heir = await world.sender("heir")
    assert len((await heir.recover()).in_doubt) == 1
    await world.store.queue.back_off(
        world.account, condition=AccountCondition.BACKING_OFF, reason="dns", cause="?", delay=60.0
    )
    assert (await world.store.queue.due_accounts("node-1", 1)).accounts == ()
    assert await world.store.directory.principal(b"h" * 32) is not None


async def test_many_calls_at_once_share_few_connections(world: World) -> None:
    await asyncio.gather(*(world.post(*(f"m{n}-{i}" for i in range(10))) for n in range(40)))
    senders = [await world.sender(f"s{slot}", slot=slot) for slot in range(3)]
    claims = await asyncio.gather(*(sender.claim(limit=200) for sender in senders))
    ids = [message.id for claim in claims for message in claim]
    assert len(ids) == len(set(ids)) == 400


async def test_hints_are_simply_missed(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with world.store.wakeups.listen() as topics:
            waiting = asyncio.ensure_future(anext(topics))
            await world.store.wakeups.announce()
            await world.post("m")
            await asyncio.wait([waiting], timeout=0.3)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
    assert caplog.records == []
    assert len(await (await world.sender()).claim()) == 1


async def test_a_pooler_that_dies_is_found_again(world: World, pooler: pgbouncer.Pooler) -> None:
    await world.post("before")
    await asyncio.to_thread(pooler.kill)
    with pytest.raises(StorageUnavailable):
        await world.post("meanwhile")
    await asyncio.to_thread(pooler.start)
    await works_again(world.store.fleet.check)
    await world.post("after")
    assert await world.state("before") is State.PENDING
    assert await world.state("meanwhile") is None
