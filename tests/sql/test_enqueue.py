"""What becomes of an id that is submitted, and submitted again (CONTRACT §3, REFERENCE §13)."""

import asyncio
import sqlite3

import psycopg
import pytest

from mailproxy.model import EventType, Priority, State
from mailproxy.records import Enqueued, NewMessage
from tests.sql.conftest import Sql, World, back, failed, sent, unknown


async def enqueue(world: World, *items: NewMessage) -> list[Enqueued]:
    return await world.store.queue.enqueue({world.tenant: items})


async def refusal(world: World, client_id: str) -> str | None:
    (found,) = await enqueue(world, world.message(client_id, payload='{"again":true}'))
    return found.refused


async def test_a_call_answers_for_each_item_in_order(world: World) -> None:
    found = await enqueue(world, *(world.message(id_) for id_ in ("b", "a", "c")))
    assert [one.client_id for one in found] == ["b", "a", "c"]
    assert len({one.message_id for one in found}) == 3
    assert all(one.refused is None and not one.replaced for one in found)


async def test_of_one_id_twice_in_a_call_the_last_counts(world: World) -> None:
    found = await enqueue(
        world, world.message("m", payload="1"), world.message("x"), world.message("m", payload="2")
    )
    assert found[0] == found[2]
    claimed = await (await world.sender()).claim()
    assert {m.client_id: m.payload for m in claimed} == {"m": "2", "x": "{}"}


async def test_an_unsent_id_is_replaced_with_its_attempts_reset(world: World) -> None:
    (first,) = await world.post("m", batch_code="b", priority=3)
    sender = await world.sender()
    await sender.settle(back((await sender.claim())[0], delay=3600))
    (found,) = await enqueue(world, world.message("m", payload='{"new":1}', priority=Priority.HIGH))
    assert found == Enqueued("m", first, None, replaced=True)
    (message,) = await sender.claim()
    assert (message.id, message.revision, message.attempt) == (first, 1, 1)
    assert (message.payload, message.priority, message.batch_code) == ('{"new":1}', Priority.HIGH, None)


async def test_a_replacement_may_change_account_and_schedule(world: World) -> None:
    other = await world.add_account("other")
    await world.post("m")
    await world.post("m", account_pk=other, due_at=1000.0)
    assert await (await world.sender()).claim() == ()
    (message,) = await (await world.sender("second", account=other)).claim()
    assert message.waited > 1e6


async def test_a_failed_id_is_tried_again(world: World) -> None:
    await world.post("m")
    sender = await world.sender()
    await sender.settle(failed((await sender.claim())[0]))
    (found,) = await enqueue(world, world.message("m"))
    assert found.replaced
    view = await world.store.directory.message(world.tenant, "m")
    assert view is not None
    assert (view.state, view.error, view.attempts, view.done_at) == (State.PENDING, None, 0, None)


async def test_a_cancelled_and_an_expired_id_are_tried_again(world: World) -> None:
    await world.post("c")
    await world.post("e", expires_at=1000.0)
    await world.store.directory.cancel(world.tenant, "c")
    await world.store.directory.expire(limit=5)
    assert all(one.replaced for one in await enqueue(world, world.message("c"), world.message("e")))
    assert len(await (await world.sender()).claim()) == 2


async def test_what_is_sent_being_sent_or_in_doubt_is_refused_untouched(world: World) -> None:
    await world.post("sent", "unknown", "claimed", "authorised")
    sender = await world.sender()
    claimed = {m.client_id: m for m in await sender.claim()}
    await sender.intend(claimed["sent"], claimed["unknown"], claimed["authorised"])
    await sender.settle(sent(claimed["sent"]), unknown(claimed["unknown"]))
    assert await refusal(world, "sent") == "already_sent"
    assert await refusal(world, "unknown") == "outcome_unknown"
    assert await refusal(world, "claimed") == "being_sent"
    assert await refusal(world, "authorised") == "being_sent"
    view = await world.store.directory.message(world.tenant, "sent")
    assert view is not None
    assert (view.state, view.payload) == (State.SENT, "{}")
    assert (await sender.settle(sent(claimed["authorised"]))).settled == {claimed["authorised"].id}


async def test_a_rejected_item_is_recorded_and_reported_only_when_new(world: World) -> None:
    await world.post("waiting")
    found = await enqueue(
        world,
        world.message("new", account_pk=None, rejected="missing to"),
        world.message("waiting", rejected="missing to"),
    )
    assert (found[0].refused, found[1].refused) == (None, "exists")
    view = await world.store.directory.message(world.tenant, "new")
    assert view is not None
    assert (view.state, view.error, view.account_id) == (State.ERROR, "missing to", None)
    assert await world.events("new") == [EventType.ERROR]
    assert len(await world.store.reports.pending(world.tenant, 10)) == 1
    assert await world.state("waiting") is State.PENDING


async def test_ids_are_the_tenants_own(world: World) -> None:
    other = await world.add_tenant("other")
    account = await world.add_account("main", other)
    await world.post("m", payload='{"a":1}')
    (found,) = await world.store.queue.enqueue(
        {other: [world.message("m", account_pk=account, payload='{"b":1}')]}
    )
    assert (found.refused, found.replaced) == (None, False)
    (mine,) = await (await world.sender()).claim()
    assert mine.payload == '{"a":1}'


async def test_nothing_is_accepted_for_an_account_that_is_gone(world: World) -> None:
    gone = await world.add_account("gone")
    await world.store.directory.delete_account(world.tenant, "gone")
    found = await enqueue(world, world.message("m", account_pk=gone), world.message("n"))
    assert [one.refused for one in found] == ["account_not_found", None]
    assert await world.state("m") is None


async def test_fifty_equal_calls_at_once_make_one_message(world: World) -> None:
    calls = [enqueue(world, *(world.message(f"m{i}") for i in (n % 3, 7))) for n in range(50)]
    found = [one for answer in await asyncio.gather(*calls) for one in answer]
    assert all(one.refused is None for one in found)
    ids = {one.client_id: set[object]() for one in found}
    for one in found:
        ids[one.client_id].add(one.message_id)
    assert all(len(known) == 1 for known in ids.values())
    assert sum(not one.replaced for one in found) == 4


async def test_a_call_may_be_larger_than_any_buffer(world: World) -> None:
    payload = '{"text":"' + "ü" * 40_000 + '"}'
    await world.post(*(f"m{i}" for i in range(100)), payload=payload)
    claimed = await (await world.sender()).claim(limit=200)
    assert len(claimed) == 100
    assert all(m.payload == payload for m in claimed)


async def test_text_of_any_kind_comes_back_as_it_was(world: World) -> None:
    odd = '{"x":"\\u0000 \'\'\\" % :now %(id)s \U0001f600 \u2028"}'
    await world.post("it's :odd %s", payload=odd, batch_code="a:b")
    (message,) = await (await world.sender()).claim()
    assert (message.client_id, message.payload, message.batch_code) == ("it's :odd %s", odd, "a:b")


async def test_waiting_messages_are_counted_no_further_than_asked(world: World) -> None:
    await world.post(*(f"m{i}" for i in range(7)))
    assert await world.store.queue.queued(world.tenant, 5) == 5
    assert await world.store.queue.queued(world.tenant, 100) == 7
    assert await world.store.queue.queued(await world.add_tenant("other"), 100) == 0


async def test_a_schedule_holds_a_message_back(world: World, sql: Sql) -> None:
    await world.post("later", due_at=9e9)
    sender = await world.sender()
    assert await sender.claim() == ()
    assert await world.state("later") is State.DEFERRED
    (max_age,) = sql("SELECT count(*) FROM q WHERE expires_at > due_at")
    assert max_age == (1,)


async def test_the_messages_of_several_tenants_are_answered_in_order_or_not_taken_at_all(
    world: World,
) -> None:
    other = await world.add_tenant("other")
    account = await world.add_account("main", other)
    theirs = [world.message(id_, account_pk=account) for id_ in ("x", "m")]
    found = await world.store.queue.enqueue({other: theirs, world.tenant: [world.message("m")]})
    assert [one.client_id for one in found] == ["x", "m", "m"]
    assert len({one.message_id for one in found}) == 3
    broken = world.message("late", priority=9, account_pk=account)
    with pytest.raises((psycopg.errors.CheckViolation, sqlite3.IntegrityError)):
        await world.store.queue.enqueue({world.tenant: [world.message("n")], other: [broken]})
    assert await world.store.directory.message(world.tenant, "n") is None
