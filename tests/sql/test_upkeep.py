"""What operators ask of the database."""

import asyncio
from dataclasses import replace

import pytest

from loadtests.fill import Filler, Shape
from mailproxy.authorization import ClientAuth
from mailproxy.config import Settings
from mailproxy.evidence import Evidence
from mailproxy.model import AccountCondition, State
from mailproxy.records import AccountWrite, TenantWrite
from mailproxy.signing import SigningSecret
from mailproxy.vault import Vault, key_id
from sql.store import SqlStore
from tests.sql.conftest import World, failed

OLD, NEW = b"k" * 32, b"n" * 32


async def _evidence(world: World, client_id: str) -> Evidence:
    found = await world.store.upkeep.evidence(world.tenant, client_id)
    assert found is not None
    return found


async def test_the_clocks_of_one_machine_agree(world: World) -> None:
    assert abs(await world.store.upkeep.clock_ahead()) < 60.0


async def test_a_waiting_message_shows_its_queue_row_and_who_is_before_it(world: World) -> None:
    await world.post("a", "b")
    await world.post("later", due_at=4e9)
    found = await _evidence(world, "b")
    assert found.row is not None
    assert (found.row.phase, found.row.attempts, found.row.ahead, found.row.holder) == (0, 0, 1, None)
    assert found.account is not None
    assert found.account.account.id == "main"
    later = await _evidence(world, "later")
    assert later.row is not None
    assert later.row.due_at == 4e9
    assert later.message.state is State.DEFERRED


async def test_a_claimed_message_shows_its_holder(world: World) -> None:
    await world.post("a")
    sender = await world.sender("first")
    await sender.claim()
    found = await _evidence(world, "a")
    assert found.row is not None
    assert found.row.holder is not None
    assert (found.row.phase, found.row.holder.owner) == (1, "first")
    assert [lease.owner for lease in found.leases] == ["first"]
    assert [process.role for process in found.processes] == ["sender"]


async def test_a_finished_message_shows_its_events_and_that_they_wait(world: World) -> None:
    await world.post("a")
    sender = await world.sender("first")
    (message,) = await sender.authorised()
    await sender.settle(failed(message))
    found = await _evidence(world, "a")
    assert found.row is None
    assert [event.reported for event in found.events] == [False]
    assert found.sync.pending == 1


async def test_suspensions_limits_and_rests_are_shown(world: World) -> None:
    store = world.store
    await world.post("a", batch_code="b1")
    await store.directory.suspend(world.tenant, "b1")
    await store.directory.suspend(world.tenant, "b2")
    await store.directory.suspend(None, None)
    limited = AccountWrite(id="main", host="h", port=25, limit_per_hour=1)
    await store.directory.put_account(world.tenant, limited)
    await store.directory.put_tenant(TenantWrite(id="acme", daily_limit=7), None, None)
    await store.queue.back_off(
        world.account, condition=AccountCondition.BREAKER_OPEN, reason="authentication", cause="no", delay=60
    )
    found = await _evidence(world, "a")
    assert [(one.tenant, one.batch_code) for one in found.suspensions] == [(0, ""), (world.tenant, "b1")]
    assert [(one.name, one.limit) for one in found.tenant_windows] == [("day", 7)]
    assert found.account is not None
    assert [(one.name, one.limit) for one in found.account.windows] == [("hour", 1)]
    assert found.account.condition is AccountCondition.BREAKER_OPEN


async def test_nothing_is_known_of_a_message_that_is_not_there(world: World) -> None:
    assert await world.store.upkeep.evidence(world.tenant, "nowhere") is None


def _with_ring(store: SqlStore, *keys: bytes) -> SqlStore:
    vault = Vault(keys)
    return replace(
        store,
        upkeep=replace(store.upkeep, vault=vault),
        directory=replace(store.directory, vault=vault),
        administration=replace(store.administration, vault=vault),
    )


async def test_everything_that_is_sealed_can_be_sealed_anew(world: World) -> None:
    await world.store.fleet.put_canary(Vault([OLD]).make_canary())
    auth = ClientAuth("bearer", token="t")
    signing = (SigningSecret("whsec_c2VjcmV0"),)
    wanted = TenantWrite(id="acme", client_auth=auth, webhook_secrets=signing)
    await world.store.directory.put_tenant(wanted, None, None)
    await world.store.administration.change_instance({}, "b")
    await world.add_account("with", password="p", user="u")
    both = _with_ring(world.store, NEW, OLD)
    key = await world.store.administration.proof_key()
    assert await both.upkeep.seals() == {key_id(OLD): 6}
    assert await both.upkeep.reseal() == 6
    assert await both.upkeep.reseal() == 0
    alone = _with_ring(world.store, NEW)
    assert await alone.upkeep.seals() == {key_id(NEW): 6}
    tenant = await alone.directory.tenant("acme")
    view = await alone.directory.account(world.tenant, "with")
    assert tenant is not None
    assert view is not None
    assert (tenant.client_auth, tenant.webhook_secrets, view.account.password) == (auth, signing, "p")
    assert (await alone.administration.instance()).bounce_password == "b"
    assert await alone.administration.proof_key() == key
    canary = await alone.fleet.canary()
    assert canary is not None
    Vault([NEW]).check_canary(canary)


@pytest.mark.usefixtures("new_database")
async def test_the_queue_does_not_keep_what_was_sent(world: World, settings: Settings) -> None:
    filler = Filler(settings.database)
    filler.rows(Shape("m", world.tenant, [world.account], body=""), 8_000)
    filler.run("DELETE FROM q")
    if settings.database.kind == "postgres":
        dead = "SELECT pg_stat_get_dead_tuples('q'::regclass)"
        async with asyncio.timeout(10):
            while filler.run(dead)[0][0] < 8_000:
                await asyncio.sleep(0.1)
        await world.store.upkeep.tidy()
        assert filler.run(dead) == [(0,)]
    else:
        await world.store.upkeep.tidy()
    filler.close()
