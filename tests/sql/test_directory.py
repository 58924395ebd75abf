"""Tenants, keys, accounts, and that their secrets are nowhere in clear."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from mailproxy.authorization import ClientAuth
from mailproxy.config import Settings
from mailproxy.errors import Conflict
from mailproxy.model import AccountCondition, EventType
from mailproxy.records import AccountWrite, MessageFilter, MessageView, TenantWrite
from sql.engine import one
from sql.messages import CHUNK
from tests.sql.conftest import Sql, World, back, sent

CANARY = "c4nary-S3cret"
ACCOUNT = AccountWrite(id="full", host="mail.example.org", port=587, user="u", password=CANARY)


async def test_a_tenant_is_made_once_and_changed_after(world: World) -> None:
    directory = world.store.directory
    auth = ClientAuth("basic", None, "user", CANARY)
    wanted = TenantWrite(
        id="t", name="T", client_auth=auth, client_base_url="https://t.example", report_format="event"
    )
    assert await directory.put_tenant(wanted, b"h" * 32, "k1")
    found = await directory.tenant("t")
    assert found is not None
    assert (found.name, found.client_auth, found.report_format, found.active) == ("T", auth, "event", True)
    assert not await directory.put_tenant(TenantWrite(id="t", name="U"), b"i" * 32, "k2")
    found = await directory.tenant("t")
    assert found is not None
    assert (found.name, found.client_auth, found.client_base_url) == ("U", auth, None)
    assert await directory.principal(b"h" * 32) is not None
    assert await directory.principal(b"i" * 32) is None
    assert await directory.tenant("nobody") is None


async def test_tenants_are_listed_by_id_in_pages(world: World) -> None:
    for id_ in ("b", "c", "a"):
        await world.add_tenant(id_, active=id_ != "b")
    directory = world.store.directory
    assert [t.id for t in await directory.tenants(active_only=False, after=None, limit=9)] == [
        "a",
        "acme",
        "b",
        "c",
    ]
    assert [t.id for t in await directory.tenants(active_only=True, after="a", limit=1)] == ["acme"]
    assert [t.id for t in await directory.tenants(active_only=True, after="acme", limit=9)] == ["c"]


async def test_a_new_key_lets_the_former_live_on_for_a_while(world: World) -> None:
    directory = world.store.directory
    one, two, three = (bytes([n]) * 32 for n in (1, 2, 3))
    for key, keep in ((one, 0.0), (two, 600.0)):
        assert await directory.put_key("acme", key, "k", expires_at=None, keep_previous=keep)
    assert await directory.principal(one) is not None
    assert await directory.principal(two) is not None
    await directory.put_key("acme", three, "k3", expires_at=None, keep_previous=600.0)
    assert await directory.principal(one) is None
    found = await directory.principal(two)
    assert found is not None
    assert (found.tenant_id, found.tenant_pk) == ("acme", world.tenant)
    await directory.put_key("acme", bytes(32), "k4", expires_at=None, keep_previous=0.0)
    assert await directory.principal(three) is None
    assert not await directory.put_key("nobody", b"z" * 32, "k", expires_at=None, keep_previous=0.0)


async def test_a_key_ends_when_it_expires_is_revoked_or_its_tenant_rests(world: World) -> None:
    directory = world.store.directory
    old, good = b"o" * 32, b"g" * 32
    await directory.put_key("acme", old, "k", expires_at=1000.0, keep_previous=0.0)
    assert await directory.principal(old) is None
    await directory.put_key("acme", good, "k", expires_at=9e9, keep_previous=0.0)
    assert await directory.principal(good) is not None
    await world.add_tenant("acme", active=False)
    assert await directory.principal(good) is None
    await world.add_tenant("acme", active=True)
    assert await directory.principal(good) is not None
    assert await directory.revoke_keys("acme")
    assert not await directory.revoke_keys("nobody")
    assert await directory.principal(good) is None


async def test_an_account_keeps_a_secret_that_is_not_given_again(world: World) -> None:
    directory = world.store.directory
    pk = await directory.put_account(
        world.tenant, replace(ACCOUNT, retry_delays=(1.5, 60.0), limit_per_hour=7)
    )
    assert await directory.put_account(world.tenant, replace(ACCOUNT, password=None, port=25)) == pk
    view = await directory.account(world.tenant, "full")
    opened = await directory.sending_account(pk)
    assert view is not None
    assert opened is not None
    assert (view.password_set, view.account.port, view.account.version) == (True, 25, 2)
    assert (opened.password, opened.tenant_id, opened.retry_delays) == (CANARY, "acme", None)
    assert view.condition is AccountCondition.OK
    assert view.windows == ()


async def test_an_account_shows_its_limits_as_they_stand(world: World) -> None:
    pk = await world.add_account("limited", limit_per_minute=0, limit_per_hour=3, limit_per_day=100)
    view = await world.store.directory.account(world.tenant, "limited")
    assert view is not None
    assert (view.limit_per_minute, view.limit_per_hour, view.limit_per_day) == (None, 3, 100)
    assert [(w.name, w.limit, w.used, w.left, w.next_at) for w in view.windows] == [
        ("hour", 3, 0, 3, None),
        ("day", 100, 0, 100, None),
    ]
    await world.post("a", "b", "c", "d", account_pk=pk)
    sender = await world.sender(account=pk)
    assert len(await sender.claim()) == 3
    view = await world.store.directory.account(world.tenant, "limited")
    assert view is not None
    hour = view.windows[0]
    assert (hour.used, hour.left) == (3, 0)
    assert hour.next_at is not None
    assert 3000 < hour.next_at - time.time() < 4200
    gauges = {g.account_id: g.limit_left for g in await world.store.fleet.account_gauges()}
    assert gauges == {"limited": 0, "main": None}


async def test_accounts_are_the_tenants_own_and_come_in_pages(world: World) -> None:
    directory = world.store.directory
    other = await world.add_tenant("other")
    theirs = await world.add_account("main", other)
    await world.add_account("b")
    await world.add_account("a")
    assert [v.account.id for v in await directory.accounts(world.tenant, after=None, limit=2)] == ["a", "b"]
    assert [v.account.id for v in await directory.accounts(world.tenant, after="b", limit=9)] == ["main"]
    assert (await directory.account_ids(other)) == {"main": theirs}
    assert await directory.tenants_of_account("main") == ["acme", "other"]
    assert await directory.tenants_of_account("a") == ["acme"]
    assert await directory.account(other, "a") is None


async def test_an_account_goes_with_its_messages(world: World, sql: Sql) -> None:
    await world.post("m", "n", "o")
    sender = await world.sender()
    m, n, o = await sender.claim()
    await sender.intend(m, n)
    await sender.settle(sent(m))
    with pytest.raises(Conflict, match="1 of its messages"):
        await world.store.directory.delete_account(world.tenant, "main")
    await sender.settle(back(n))
    assert await world.store.directory.delete_account(world.tenant, "main")
    assert await sender.intend(o) == frozenset()
    assert not await world.store.directory.delete_account(world.tenant, "main")
    for table in ("message", "body", "q", "event", "outbox", "account_lease", "account_state"):
        assert sql(f"SELECT count(*) FROM {table}") == [(0,)], table
    assert (await world.store.queue.claim(world.account, 0, epoch=sender.epoch, limit=1)).lease_lost


async def test_a_tenant_goes_with_everything_and_no_other_loses_anything(world: World, sql: Sql) -> None:
    other = await world.add_tenant("other", client_base_url="http://127.0.0.1:2", daily_limit=10)
    account = await world.add_account("main", other, limit_per_day=5)
    await world.store.queue.enqueue({other: [world.message("m", account_pk=account)]})
    await world.store.directory.suspend(other, "news")
    sender = await world.sender(account=account)
    await sender.settle(sent((await sender.authorised())[0]))
    await world.post("mine")
    assert await world.store.directory.delete_tenant("other")
    assert not await world.store.directory.delete_tenant("other")
    for table in ("suspension", "rate_limit", "rate_slot", "event", "outbox", "account_lease"):
        assert sql(f"SELECT count(*) FROM {table}") == [(0,)], table
    assert len(await (await world.sender("mine")).claim()) == 1


async def test_no_secret_is_stored_in_clear(world: World, settings: Settings) -> None:
    directory = world.store.directory
    auth = ClientAuth("bearer", CANARY + "-token")
    await directory.put_tenant(TenantWrite(id="t", client_auth=auth), b"h" * 32, "k1")
    await directory.put_account(world.tenant, ACCOUNT)
    assert CANARY.encode() not in _dump(settings)
    assert b"mail.example.org" in _dump(settings)
    assert CANARY not in repr(await directory.tenant("t"))
    assert CANARY not in repr(await directory.account(world.tenant, "full"))


def _dump(settings: Settings) -> bytes:
    """Every value of every table, or the database's files themselves."""
    path = settings.database.path
    if path is not None:
        return b"".join(Path(f"{path}{end}").read_bytes() for end in ("", "-wal"))
    with psycopg.connect(settings.database.url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        rows = [
            connection.execute(f'SELECT t::text FROM "{name}" t'.encode()).fetchall() for (name,) in tables
        ]
        secrets = connection.execute("SELECT secret FROM account UNION ALL SELECT client_auth FROM tenant")
        return repr(rows).encode() + b"".join(secret or b"" for (secret,) in secrets)


@pytest.mark.parametrize("whose", ["tenant", "account"])
async def test_a_limit_holds_for_what_was_claimed_before_it_was_set(world: World, whose: str) -> None:
    await world.post("a", "b", "c")
    sender = await world.sender()
    first, *rest = await sender.claim()
    assert await sender.intend(first) == {first.id}
    if whose == "tenant":
        await world.store.directory.put_tenant(TenantWrite(id="acme", hourly_limit=1), None, None)
    else:
        await world.add_account("main", limit_per_hour=1)
    assert await sender.intend(*rest) == frozenset()
    [granted] = await sender.intend(*rest, limited=True)
    await sender.settle(*(back(one, refund=True) for one in rest if one.id != granted))
    assert await sender.claim() == ()


async def test_the_canary_of_the_key_is_kept_once(world: World) -> None:
    fleet = world.store.fleet
    stored = await fleet.canary()
    assert stored
    assert not await fleet.put_canary(b"another")
    assert await fleet.canary() == stored
    assert 0 < await fleet.instance() < 1 << 60


async def test_the_figures_of_status_and_metrics_add_up(world: World) -> None:
    await world.post("a", "b", priority=0)
    await world.post("c", due_at=9e9)
    sender = await world.sender()
    a, _ = await sender.authorised()
    await sender.settle(sent(a))
    fleet = world.store.fleet
    overview = await fleet.overview()
    assert (overview.active, overview.pending, overview.tenants, overview.accounts) == (True, 2, 1, 1)
    assert overview.reports_pending == 1
    assert overview.oldest_pending_age is not None
    assert overview.oldest_report_age is not None
    totals = await fleet.totals()
    assert (totals.messages, totals.sent, totals.error, totals.unknown) == (3, 1, 0, 0)
    depths = [(d.tenant_id, d.account_id, d.priority, d.depth) for d in await fleet.depths()]
    assert depths == [("acme", "main", 0, 1), ("acme", "main", 2, 1)]
    assert await world.events("a") == [EventType.SENT]
    await fleet.check()


async def test_messages_are_removed_in_chunks_of_one_account_or_all_but_for_those_being_handed_over(
    world: World,
) -> None:
    directory = world.store.directory
    await directory.put_account(world.tenant, AccountWrite(id="other", host="127.0.0.1", port=25))
    other = (await directory.account_ids(world.tenant))["other"]
    sender = await world.sender()
    await world.post("busy")
    await sender.authorised()
    await world.post("theirs", account_pk=other)
    await world.post(*(f"m{n}" for n in range(5)))
    await directory.empty(world.tenant, world.account, chunk=2)
    assert [one.client_id for one in await all_messages(world)] == ["busy", "theirs"]
    await directory.empty(world.tenant, chunk=2)
    assert [one.client_id for one in await all_messages(world)] == ["busy"]
    assert await directory.delete_tenant("acme")
    assert await all_messages(world) == []


async def test_a_busy_account_keeps_all_its_messages(world: World) -> None:
    sender = await world.sender()
    await world.post("m1")
    await sender.authorised()
    await world.post("m2", "m3")
    with pytest.raises(Conflict):
        await world.store.directory.delete_account(world.tenant, "main")
    assert len(await all_messages(world)) == 3


async def test_an_account_sends_nothing_from_the_beginning_of_its_deletion(world: World, sql: Sql) -> None:
    directory, count = world.store.directory, 2 * CHUNK + 1
    sender = await world.sender()
    await world.post(*(f"m{n}" for n in range(count)))
    claimed = await sender.claim(1)
    deletion = asyncio.create_task(directory.delete_account(world.tenant, "main"))
    while sql("SELECT count(*) FROM message") == [(count,)]:
        await asyncio.sleep(0)
    assert await sender.claim(1) == ()
    assert await sender.intend(*claimed) == frozenset()
    assert await deletion


async def test_an_account_whose_deletion_was_cut_off_says_so_and_is_deleted_or_reset(world: World) -> None:
    directory = world.store.directory
    sender = await world.sender()
    await world.post("m1", "m2")
    (claimed,) = await sender.claim(1)
    assert await world.store.engine.write(lambda: one("close_account", account=world.account)) == [(0,)]
    view = await directory.account(world.tenant, "main")
    assert view is not None
    assert (view.condition, view.reason) == (AccountCondition.BREAKER_OPEN, "being_deleted")
    assert await directory.reset_account(world.tenant, "main")
    again = await sender.claim()
    assert {one.id: one.attempt for one in again}[claimed.id] == 1
    assert await directory.delete_account(world.tenant, "main")


async def all_messages(world: World) -> list[MessageView]:
    return await world.store.directory.messages(None, MessageFilter(), after=None, limit=100)
