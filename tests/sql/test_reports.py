"""Which tenant is called when, with what, and what an acknowledgement takes away (CONTRACT §6)."""

import asyncio
import time

import pytest

from mailproxy.authorization import ClientAuth
from mailproxy.model import Epoch, EventType, TenantPk
from mailproxy.records import TenantWrite
from mailproxy.reports import CallSettled, TenantCall
from tests.sql.conftest import NOW, Sql, World, failed, sent

INTERVAL = 300.0
CALLED = CallSettled(fails=0, called=True)


@pytest.fixture
async def reporter(world: World) -> Epoch:
    return await world.process("reporter", role="reporter")


async def calls(
    world: World, epoch: Epoch, *, ttl: float = 60.0, limit: int = 10, fallback: bool = False
) -> list[TenantCall]:
    return await world.store.reports.claim_tenants(
        epoch, limit=limit, ttl=ttl, interval=INTERVAL, fallback=fallback
    )


async def called(world: World, epoch: Epoch) -> list[str]:
    """Who is called now; each call ends well and without an answer to remember."""
    found = await calls(world, epoch)
    for call in found:
        await world.store.reports.settle_call(call.tenant_pk, epoch, CALLED)
    return [call.tenant_id for call in found]


async def next_call(world: World) -> float | None:
    return await world.store.reports.next_call_in(INTERVAL, fallback=False)


async def happen(world: World, client_id: str = "m", tenant: TenantPk | None = None) -> None:
    """An event of the tenant's: a message that failed at the door."""
    rejected = world.message(client_id, account_pk=None, rejected="no")
    await world.store.queue.enqueue({tenant or world.tenant: [rejected]})


async def test_a_call_carries_what_it_needs(world: World, reporter: Epoch) -> None:
    auth = ClientAuth("bearer", "token")
    tenant = TenantWrite(
        id="t",
        client_base_url="https://t.example/",
        client_sync_path="/sync",
        client_auth=auth,
        report_strict=True,
    )
    await world.store.directory.put_tenant(tenant, None, None)
    found = {call.tenant_id: call for call in await calls(world, reporter)}
    assert set(found) == {"acme", "t"}
    assert (found["t"].url, found["t"].auth, found["t"].report_strict) == (
        "https://t.example/sync",
        auth,
        True,
    )
    assert found["acme"].url == "http://127.0.0.1:1/mail-proxy/sync"


async def test_only_tenants_whose_calls_last_stay_leased(world: World, reporter: Epoch) -> None:
    await world.store.directory.put_tenant(
        TenantWrite(id="t", client_base_url="https://t.example"), None, None
    )
    found = {call.tenant_id: call.tenant_pk for call in await calls(world, reporter, ttl=0.05)}
    await world.store.reports.renew_calls(reporter, [found["acme"]], 60.0)
    other = await world.process("other", role="reporter")
    async with asyncio.timeout(5):
        while not (taken := await calls(world, other)):
            await asyncio.sleep(0.01)
    assert [call.tenant_id for call in taken] == ["t"]


async def test_a_tenant_is_one_reporters_at_a_time(world: World, reporter: Epoch) -> None:
    other = await world.process("other", role="reporter")
    assert len(await calls(world, reporter)) == 1
    assert await calls(world, other) == []
    await world.store.reports.settle_call(world.tenant, other, CALLED)
    assert await calls(world, other) == []
    wait = await next_call(world)
    assert wait is not None
    assert 50 < wait <= 60


async def test_the_lease_of_a_reporter_that_died_ends(world: World, reporter: Epoch) -> None:
    other = await world.process("other", role="reporter")
    await calls(world, reporter, ttl=NOW)
    assert len(await calls(world, other)) == 1


async def test_idle_tenants_are_called_once_an_interval(world: World, reporter: Epoch) -> None:
    assert await next_call(world) == 0
    assert await called(world, reporter) == ["acme"]
    assert await called(world, reporter) == []
    wait = await next_call(world)
    assert wait is not None
    assert INTERVAL - 10 < wait <= INTERVAL


async def test_events_call_at_once(world: World, reporter: Epoch) -> None:
    await called(world, reporter)
    await happen(world)
    assert await next_call(world) == 0
    assert await called(world, reporter) == ["acme"]


async def test_a_failing_tenant_backs_off_alone(world: World, reporter: Epoch) -> None:
    other = await world.add_tenant("other", client_base_url="http://127.0.0.1:2")
    await happen(world)
    await happen(world, tenant=other)
    assert len(await calls(world, reporter)) == 2
    await world.store.reports.settle_call(
        world.tenant, reporter, CallSettled(fails=3, called=False, next_in=40.0)
    )
    await world.store.reports.settle_call(other, reporter, CALLED)
    assert await called(world, reporter) == ["other"]
    await world.store.directory.delete_tenant("other")
    wait = await next_call(world)
    assert wait is not None
    assert 30 < wait <= 40
    await world.store.reports.poke(world.tenant)
    (call,) = await calls(world, reporter)
    assert call.fails == 3


async def test_a_mute_silences_idle_calls_only(world: World, reporter: Epoch) -> None:
    await calls(world, reporter)
    muted = CallSettled(fails=0, called=True, muted_until=time.time() + 1000)
    await world.store.reports.settle_call(world.tenant, reporter, muted)
    wait = await next_call(world)
    assert wait is not None
    assert 900 < wait <= 1000
    await happen(world)
    assert await next_call(world) == 0
    assert await called(world, reporter) == ["acme"]


async def test_a_mute_lasts_over_calls_that_do_not_speak_of_it(world: World, reporter: Epoch) -> None:
    now = time.time()
    found = []
    for until in (now + 1000, None, now + 500):
        await happen(world)
        assert [call.tenant_id for call in await calls(world, reporter)] == ["acme"]
        settled = CallSettled(fails=0, called=True, muted_until=until)
        await world.store.reports.settle_call(world.tenant, reporter, settled)
        (standing,) = await world.store.reports.standings(after=None, limit=10)
        assert standing.muted_until is not None
        found.append(round(standing.muted_until - now))
    assert found == [1000, 1000, 500]


async def test_a_poke_calls_though_idle_or_muted(world: World, reporter: Epoch) -> None:
    other = await world.add_tenant("other", client_base_url="http://127.0.0.1:2")
    await calls(world, reporter)
    for tenant in (world.tenant, other):
        muted = CallSettled(fails=0, called=True, muted_until=time.time() + 1000)
        await world.store.reports.settle_call(tenant, reporter, muted)
    await world.store.reports.poke(other)
    assert await next_call(world) == 0
    assert await called(world, reporter) == ["other"]
    await world.store.reports.poke(None)
    assert set(await called(world, reporter)) == {"acme", "other"}
    assert await called(world, reporter) == []


async def test_an_inactive_tenant_is_called_for_events_only(world: World, reporter: Epoch) -> None:
    await world.add_tenant("acme", client_base_url="http://127.0.0.1:1", active=False)
    assert await called(world, reporter) == []
    assert await next_call(world) is None
    await happen(world)
    assert await called(world, reporter) == ["acme"]


async def test_a_tenant_without_url_is_called_only_with_a_fallback(world: World, reporter: Epoch) -> None:
    await world.add_tenant("silent")
    assert [c.tenant_id for c in await calls(world, reporter)] == ["acme"]
    (call,) = await calls(world, reporter, fallback=True)
    assert (call.tenant_id, call.url) == ("silent", None)


async def test_a_switched_off_tenant_is_left_alone_until_it_is_changed(world: World, reporter: Epoch) -> None:
    await calls(world, reporter)
    await world.store.reports.settle_call(
        world.tenant, reporter, CallSettled(fails=9, called=False, switch_off="410 Gone")
    )
    await happen(world)
    await world.store.reports.poke(None)
    assert await called(world, reporter) == []
    assert await next_call(world) is None
    await world.add_tenant("acme", client_base_url="http://127.0.0.1:1")
    assert await called(world, reporter) == ["acme"]


async def test_those_poked_come_first_then_who_waited_longest(world: World, reporter: Epoch) -> None:
    for id_ in ("b", "c"):
        await world.add_tenant(id_, client_base_url="http://127.0.0.1:2")
    order = []
    await called(world, reporter)
    for id_ in ("c", "acme"):
        tenant = await world.store.directory.tenant(id_)
        assert tenant is not None
        await world.store.reports.poke(tenant.pk)
    await happen(world, tenant=(await world.store.directory.tenant("b")).pk)  # type: ignore[union-attr]
    while found := await calls(world, reporter, limit=1):
        order.append(found[0].tenant_id)
        await world.store.reports.settle_call(
            found[0].tenant_pk, reporter, CallSettled(0, True, next_in=50.0)
        )
    assert order == ["c", "acme", "b"]


async def test_pending_reports_come_in_the_order_of_their_events(world: World) -> None:
    await world.post("a", "b", batch_code="x", priority=1)
    sender = await world.sender()
    a, b = await sender.authorised()
    await sender.settle(sent(b))
    await sender.settle(failed(a))
    await happen(world, "c")
    found = await world.store.reports.pending(world.tenant, 10)
    assert [(r.client_id, r.event_type) for r in found] == [
        ("b", EventType.SENT),
        ("a", EventType.ERROR),
        ("c", EventType.ERROR),
    ]
    assert (found[0].account_id, found[0].batch_code, found[0].priority, found[0].message_id) == (
        "main",
        "x",
        1,
        b.id,
    )
    assert (found[2].account_id, found[2].detail.error) == (None, "no")
    assert [r.event_id for r in found] == sorted(r.event_id for r in found)
    assert len(await world.store.reports.pending(world.tenant, 2)) == 2


async def test_only_the_reporter_with_the_lease_acknowledges(world: World, reporter: Epoch, sql: Sql) -> None:
    await happen(world, "a")
    await happen(world, "b")
    stranger = await world.process("stranger", role="reporter")
    first, second = [r.event_id for r in await world.store.reports.pending(world.tenant, 10)]
    acknowledge = world.store.reports.acknowledge
    assert await acknowledge(world.tenant, reporter, [first]) == 0
    await calls(world, reporter)
    assert await acknowledge(world.tenant, stranger, [first]) == 0
    other = await world.add_tenant("other")
    assert await acknowledge(other, reporter, [first]) == 0
    assert await acknowledge(world.tenant, reporter, [first, 999_999]) == 1
    assert await acknowledge(world.tenant, reporter, [first]) == 0
    assert [r.event_id for r in await world.store.reports.pending(world.tenant, 10)] == [second]
    await world.store.reports.settle_call(world.tenant, reporter, CALLED)
    assert await acknowledge(world.tenant, reporter, [second]) == 0


async def test_a_reported_event_stays_in_the_messages_history(world: World, reporter: Epoch) -> None:
    await happen(world)
    await calls(world, reporter)
    events = [r.event_id for r in await world.store.reports.pending(world.tenant, 10)]
    await world.store.reports.acknowledge(world.tenant, reporter, events)
    assert await world.events("m") == [EventType.ERROR]
    assert (await world.store.fleet.overview()).reports_pending == 0


async def test_events_are_read_on_from_a_number_with_those_that_came_late(world: World) -> None:
    reports = world.store.reports
    start = await reports.latest_event()
    for n in range(4):
        await happen(world, f"m{n}")
    found = await reports.events_after(start, [], limit=3)
    assert [(tenant, report.client_id, report.event_type) for tenant, report in found] == [
        ("acme", f"m{n}", EventType.ERROR) for n in range(3)
    ]
    numbers = [report.event_id for _, report in found]
    later = await reports.events_after(numbers[2], [numbers[0], 10**12], limit=3)
    assert [report.client_id for _, report in later] == ["m0", "m3"]
    assert later[-1][1].event_id == await reports.latest_event()
    assert await reports.events_after(await reports.latest_event(), [], limit=3) == []
