"""What a tenant does not take: it waits by itself, is set aside, and is replayed or discarded."""

import asyncio
import time

import pytest

from mailproxy.model import Epoch, EventType, TenantPk
from mailproxy.reports import CallSettled, DeadLetter, Held, Selection
from tests.sql.conftest import Sql, World

DAY = 86400.0
FAILED = CallSettled(fails=1, called=False, failure="HTTP status 503", next_in=300.0)
ALL = Selection()


@pytest.fixture
async def reporter(world: World) -> Epoch:
    return await world.process("reporter", role="reporter")


async def happen(world: World, *client_ids: str, tenant: TenantPk | None = None) -> list[int]:
    """Events of the tenant's, by their ids: messages that failed at the door."""
    rejected = [world.message(one, account_pk=None, rejected="no") for one in client_ids]
    await world.store.queue.enqueue({tenant or world.tenant: rejected})
    found = {r.client_id: r.event_id for r in await world.store.reports.pending(tenant or world.tenant, 1000)}
    return [found[one] for one in client_ids]


async def lease(world: World, epoch: Epoch) -> list[str]:
    found = await world.store.reports.claim_tenants(epoch, limit=10, ttl=60.0, interval=300.0, fallback=False)
    return [call.tenant_id for call in found]


async def fail(world: World, epoch: Epoch, settled: CallSettled = FAILED) -> None:
    """A call that came to nothing."""
    await world.store.reports.poke(world.tenant)
    assert await lease(world, epoch)
    await world.store.reports.settle_call(world.tenant, epoch, settled)


async def pending(world: World) -> list[int]:
    return [r.event_id for r in await world.store.reports.pending(world.tenant, 1000)]


async def letters(world: World, selection: Selection = ALL) -> list[DeadLetter]:
    return await world.store.dead_letters.listed(world.tenant, selection, after=0, limit=1000)


async def counts(world: World) -> tuple[int, int]:
    """How many events wait, and how many are dead."""
    (found,) = await world.store.reports.standings(after=None, limit=1)
    overview = await world.store.fleet.overview()
    assert (overview.reports_pending, overview.reports_dead) == (found.pending, found.dead)
    return found.pending, found.dead


async def bury(world: World, epoch: Epoch, *client_ids: str) -> list[int]:
    """Dead letters for these messages."""
    events = await happen(world, *client_ids)
    await fail(world, epoch)
    assert await world.store.dead_letters.set_aside(0.0, limit=1000) == {"acme": len(events)}
    return events


async def test_a_held_report_waits_its_time_and_the_others_go_on(world: World, reporter: Epoch) -> None:
    a, b = await happen(world, "a", "b")
    await lease(world, reporter)
    await world.store.dead_letters.hold(world.tenant, reporter, [Held(a, 100.0, "named in error")])
    await world.store.reports.acknowledge(world.tenant, reporter, [b])
    await world.store.reports.settle_call(world.tenant, reporter, CallSettled(fails=0, called=True))
    assert await pending(world) == []
    assert await counts(world) == (1, 0)
    wait = await world.store.reports.next_call_in(300.0, fallback=False)
    assert wait is not None
    assert 90 < wait <= 100
    (c,) = await happen(world, "c")
    assert await world.store.reports.next_call_in(300.0, fallback=False) == 0
    await world.store.reports.poke(world.tenant, held=False)
    assert await pending(world) == [c]
    await world.store.reports.poke(world.tenant)
    assert await pending(world) == [a, c]


async def test_a_held_report_is_due_again_by_itself_and_counts_its_tries(
    world: World, reporter: Epoch
) -> None:
    (a,) = await happen(world, "a")
    for tries in range(3):
        async with asyncio.timeout(10):
            while not await lease(world, reporter):
                await asyncio.sleep(0.01)
        (report,) = await world.store.reports.pending(world.tenant, 10)
        assert report.tries == tries
        await world.store.dead_letters.hold(world.tenant, reporter, [Held(a, 0.01, "no")])
        await world.store.reports.settle_call(world.tenant, reporter, CallSettled(fails=0, called=True))
    async with asyncio.timeout(10):
        while not await lease(world, reporter):
            await asyncio.sleep(0.01)
    assert await world.store.reports.acknowledge(world.tenant, reporter, [a]) == 1
    assert await counts(world) == (0, 0)


async def test_only_the_reporter_with_the_lease_holds_reports(world: World, reporter: Epoch) -> None:
    (a,) = await happen(world, "a")
    stranger = await world.process("stranger", role="reporter")
    await lease(world, reporter)
    await world.store.dead_letters.hold(world.tenant, stranger, [Held(a, 100.0, "no")])
    assert await pending(world) == [a]


async def test_reports_of_an_endpoint_that_fails_for_long_are_set_aside(
    world: World, reporter: Epoch
) -> None:
    a, b = await happen(world, "a", "b")
    assert await world.store.dead_letters.set_aside(0.0, limit=10) == {}, "nobody has tried yet"
    await fail(world, reporter)
    assert await world.store.dead_letters.set_aside(DAY, limit=10) == {}
    assert await world.store.dead_letters.set_aside(0.0, limit=10) == {"acme": 2}
    assert await pending(world) == []
    assert await counts(world) == (0, 2)
    first, second = await letters(world)
    assert (first.event_id, second.event_id) == (a, b)
    assert (first.client_id, first.tenant_id, first.event_type) == ("a", "acme", EventType.ERROR)
    assert (first.cause, first.tries, first.detail.error) == ("HTTP status 503", 0, "no")
    assert first.event_ts <= first.since <= first.dead_at


async def test_an_event_younger_than_the_limit_stays_whatever_the_endpoint_does(
    world: World, reporter: Epoch, sql: Sql
) -> None:
    old, _ = await happen(world, "old", "young")
    await fail(world, reporter)
    past = "now() - interval '2 days'" if "Postgres" in type(world.store.engine).__name__ else "0"
    sql(f"UPDATE event SET at = {past} WHERE id = ?", old)
    sql(f"UPDATE tenant_sync SET failing_since = {past}")
    assert await world.store.dead_letters.set_aside(DAY, limit=10) == {"acme": 1}
    assert [one.event_id for one in await letters(world)] == [old]
    assert await counts(world) == (1, 1)


async def test_a_call_that_succeeds_ends_the_count(world: World, reporter: Epoch) -> None:
    await happen(world, "a")
    await fail(world, reporter)
    await fail(world, reporter, CallSettled(fails=0, called=True))
    assert await world.store.dead_letters.set_aside(0.0, limit=10) == {}


async def test_a_tenant_that_is_being_called_is_left_alone(world: World, reporter: Epoch) -> None:
    (a,) = await happen(world, "a")
    await fail(world, reporter)
    await world.store.reports.poke(world.tenant)
    await lease(world, reporter)
    assert await world.store.dead_letters.set_aside(0.0, limit=10) == {}
    assert await world.store.reports.acknowledge(world.tenant, reporter, [a]) == 1


async def test_reports_of_a_switched_off_endpoint_wait(world: World, reporter: Epoch) -> None:
    (a,) = await happen(world, "a")
    gone = CallSettled(fails=10, called=False, gone=10, failure="HTTP status 410", switch_off="gone")
    await fail(world, reporter, gone)
    assert await world.store.dead_letters.set_aside(0.0, limit=10) == {}
    assert await counts(world) == (1, 0)
    assert (await world.store.fleet.overview()).switched_off == 1
    stored = await world.store.directory.tenant("acme")
    assert stored is not None
    assert stored.switched_off == "gone"
    assert stored.switched_off_at == pytest.approx(time.time(), abs=60)
    await world.add_tenant("acme", client_base_url="http://127.0.0.1:1", switch_on=False)
    assert await lease(world, reporter) == []
    await world.add_tenant("acme", client_base_url="http://127.0.0.1:1")
    assert await lease(world, reporter) == ["acme"]
    assert await pending(world) == [a]


async def test_a_report_refused_by_itself_for_long_is_set_aside(world: World, reporter: Epoch) -> None:
    a, b = await happen(world, "a", "b")
    await lease(world, reporter)
    await world.store.dead_letters.hold(world.tenant, reporter, [Held(a, 0.0, "named in error")])
    await world.store.reports.acknowledge(world.tenant, reporter, [b])
    await world.store.reports.settle_call(world.tenant, reporter, CallSettled(fails=0, called=True))
    assert await world.store.dead_letters.set_aside(DAY, limit=10) == {}
    assert await world.store.dead_letters.set_aside(0.0, limit=10) == {"acme": 1}
    (letter,) = await letters(world)
    assert (letter.event_id, letter.cause, letter.tries) == (a, "named in error", 1)
    assert await world.store.reports.next_call_in(300.0, fallback=False) != 0


async def test_dead_letters_are_replayed_by_event_by_time_and_all(world: World, reporter: Epoch) -> None:
    a, b, c, d = await bury(world, reporter, "a", "b", "c", "d")
    replay = world.store.dead_letters.replay
    assert await replay(world.tenant, Selection(events=(b, 999_999))) == [b]
    assert await pending(world) == [b]
    assert await replay(world.tenant, Selection(events=())) == []
    at = {one.event_id: one.event_ts for one in await letters(world)}
    assert await replay(world.tenant, Selection(until=at[a])) == []
    assert await replay(world.tenant, Selection(since=at[d] + 1)) == []
    assert await replay(world.tenant, Selection(since=at[a], until=at[a] + 1, events=(a, c))) == [a, c]
    assert await pending(world) == [a, b, c]
    assert await replay(None, ALL) == [d]
    assert await pending(world) == [a, b, c, d]
    assert await counts(world) == (4, 0)
    assert await lease(world, reporter) == ["acme"], "the back-off of the former failures is over"
    assert await world.store.reports.acknowledge(world.tenant, reporter, [a, b, c, d]) == 4


async def test_a_replayed_letter_has_its_whole_time_again(world: World, reporter: Epoch, sql: Sql) -> None:
    await bury(world, reporter, "a")
    await world.store.dead_letters.replay(world.tenant, ALL)
    past = "now() - interval '2 days'" if "Postgres" in type(world.store.engine).__name__ else "0"
    sql(f"UPDATE event SET at = {past}")
    sql(f"UPDATE tenant_sync SET failing_since = {past}")
    assert await world.store.dead_letters.set_aside(DAY, limit=10) == {}
    await fail(world, reporter)
    assert await world.store.dead_letters.set_aside(0.0, limit=10) == {"acme": 1}


async def test_letters_of_one_tenant_are_not_anothers(world: World, reporter: Epoch) -> None:
    (a,) = await bury(world, reporter, "a")
    other = await world.add_tenant("other", client_base_url="http://127.0.0.1:2")
    dead = world.store.dead_letters
    assert await dead.listed(other, ALL, after=0, limit=10) == []
    assert await dead.replay(other, Selection(events=(a,))) == []
    assert await dead.discard(other, ALL) == []
    assert [one.event_id for one in await dead.listed(None, ALL, after=0, limit=10)] == [a]


async def test_letters_are_listed_in_pages(world: World, reporter: Epoch) -> None:
    events = await bury(world, reporter, *"abcde")
    listed = world.store.dead_letters.listed
    first = await listed(world.tenant, ALL, after=0, limit=3)
    rest = await listed(world.tenant, ALL, after=first[-1].event_id, limit=3)
    assert [one.event_id for one in (*first, *rest)] == events


async def test_cleanup_leaves_messages_until_their_letters_are_told_or_discarded(
    world: World, reporter: Epoch
) -> None:
    a, b, c = await bury(world, reporter, "a", "b", "c")
    cleanup = world.store.directory.cleanup
    assert await cleanup(world.tenant, -1.0, limit=10) == 0
    (event,) = (await world.store.directory.events(world.tenant, "a")) or []
    assert not event.reported
    assert await world.store.dead_letters.discard(world.tenant, Selection(events=(a,))) == [a]
    assert await cleanup(world.tenant, -1.0, limit=10) == 1
    await world.store.dead_letters.replay(world.tenant, Selection(events=(b,)))
    assert await cleanup(world.tenant, -1.0, limit=10) == 0
    await lease(world, reporter)
    await world.store.reports.acknowledge(world.tenant, reporter, [b])
    assert await cleanup(world.tenant, -1.0, limit=10) == 1
    assert [one.event_id for one in await letters(world)] == [c]


async def test_a_deleted_message_takes_its_letters_with_it(world: World, reporter: Epoch) -> None:
    await bury(world, reporter, "a", "b")
    await world.store.directory.delete_messages(world.tenant, ["a"])
    assert [one.client_id for one in await letters(world)] == ["b"]
    await world.store.directory.delete_tenant("acme")
    assert await world.store.dead_letters.listed(None, ALL, after=0, limit=10) == []
