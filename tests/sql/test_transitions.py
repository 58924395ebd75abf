"""The state table of a message, row by row (RELIABILITY §2.1), through the port, on both databases."""

from dataclasses import replace

import pytest

from mailproxy.model import EventDetail, EventType, State, Status
from mailproxy.records import RecipientOutcome
from sql.queue import LONGEST
from tests.sql.conftest import Sql, World, back, failed, sent, unknown

FAR = 3600.0


async def test_an_accepted_message_is_pending(world: World) -> None:
    await world.post("m")
    assert await world.state("m") is State.PENDING
    assert await world.events("m") == []


async def test_a_claim_takes_what_is_due_and_counts_the_attempt(world: World) -> None:
    await world.post("m", payload='{"subject":"é"}', batch_code="b")
    sender = await world.sender()
    (message,) = await sender.claim()
    assert (message.client_id, message.attempt, message.payload) == ("m", 1, '{"subject":"é"}')
    assert (message.batch_code, message.crashes, message.suspect, message.expired) == ("b", 0, False, False)
    assert 0 <= message.waited < 60
    assert await world.state("m") is State.SENDING
    assert await sender.claim() == ()


async def test_a_long_payload_is_left_behind_by_its_octets_not_its_characters(world: World) -> None:
    just, too_long = "é" * (LONGEST // 2), "é" * (LONGEST // 2) + "x"
    await world.post("just", payload=just)
    await world.post("too-long", payload=too_long)
    found = {message.client_id: message for message in await (await world.sender()).claim()}
    assert (found["just"].payload == just, found["just"].left_behind) == (True, 0)
    assert (found["too-long"].payload, found["too-long"].left_behind) == ("", LONGEST + 1)
    assert await world.store.queue.payload(found["too-long"].id) == too_long


async def test_claims_follow_priority_then_due_time_then_age(world: World) -> None:
    await world.post("low", priority=3)
    await world.post("old", "older-id-later", priority=2)
    await world.post("overdue", priority=2, due_at=1000.0)
    await world.post("urgent", priority=0)
    sender = await world.sender()
    assert [m.client_id for m in await sender.claim(limit=3)] == ["urgent", "overdue", "old"]
    assert [m.client_id for m in await sender.claim()] == ["older-id-later", "low"]


async def test_a_claim_without_the_lease_takes_nothing(world: World) -> None:
    await world.post("m")
    sender = await world.sender()
    await sender.lose_lease()
    assert (await world.store.queue.claim(world.account, 0, epoch=sender.epoch, limit=5)).lease_lost
    assert (await world.store.queue.claim(world.account, 1, epoch=sender.epoch, limit=5)).lease_lost
    assert await world.state("m") is State.PENDING


async def test_what_is_not_due_waits_and_says_how_long(world: World, sql: Sql) -> None:
    (id_,) = await world.post("m")
    sender = await world.sender()
    await sender.settle(back((await sender.claim())[0], delay=FAR))
    claim = await world.store.queue.claim(world.account, 0, epoch=sender.epoch, limit=5)
    assert claim.messages == ()
    assert claim.wait is not None
    assert FAR - 60 < claim.wait <= FAR
    view = await world.store.directory.message(world.tenant, "m")
    assert view is not None
    assert view.state is State.DEFERRED
    assert view.deferred_until is not None
    sql("UPDATE q SET due_at = (SELECT created_at FROM message WHERE id = ?) WHERE id = ?", id_, id_)
    assert len(await sender.claim()) == 1


async def test_an_empty_account_waits_for_something_to_arrive(world: World) -> None:
    sender = await world.sender()
    claim = await world.store.queue.claim(world.account, 0, epoch=sender.epoch, limit=5)
    assert (claim.messages, claim.wait, claim.limited, claim.lease_lost) == ((), None, False, False)


@pytest.mark.parametrize("refund", [False, True])
async def test_a_release_before_the_dot_makes_it_ready_again(world: World, refund: bool) -> None:
    await world.post("m")
    sender = await world.sender()
    (message,) = await sender.claim()
    assert (await sender.settle(back(message, refund=refund))).settled == {message.id}
    assert await world.state("m") is State.PENDING
    assert await world.events("m") == []
    (again,) = await sender.claim()
    assert again.attempt == (1 if refund else 2)


async def test_a_retry_after_the_dot_is_deferred_and_reported(world: World) -> None:
    await world.post("m")
    sender = await world.sender()
    (message,) = await sender.authorised()
    detail = EventDetail(attempt=1, reason="temporary_failure", error="(451, 'later')", deferred_until=9e9)
    await sender.settle(back(message, delay=FAR, event=EventType.DEFERRED, detail=detail))
    assert await world.state("m") is State.DEFERRED
    events = await world.store.directory.events(world.tenant, "m")
    assert events is not None
    assert [(e.event_type, e.detail) for e in events] == [(EventType.DEFERRED, detail)]


async def test_a_permanent_failure_before_the_dot_ends_it(world: World) -> None:
    await world.post("m")
    sender = await world.sender()
    (message,) = await sender.claim()
    assert (await sender.settle(failed(message))).settled == {message.id}
    view = await world.store.directory.message(world.tenant, "m")
    assert view is not None
    assert (view.state, view.error, view.attempts) == (State.ERROR, "(550, 'no') (SMTP 550)", 1)
    assert view.done_at is not None


async def test_an_intent_is_granted_once_to_whoever_claimed(world: World) -> None:
    await world.post("m", "other")
    sender = await world.sender()
    message, other = await sender.claim()
    stranger = await world.sender("second", slot=1)
    assert await stranger.intend(message, other) == frozenset()
    assert await sender.intend(message) == {message.id}
    assert await sender.intend(message, other) == {other.id}


async def test_no_intent_without_the_lease(world: World) -> None:
    await world.post("m")
    sender = await world.sender()
    (message,) = await sender.claim()
    await sender.lose_lease()
    assert await sender.intend(message) == frozenset()


async def test_no_intent_for_what_was_not_claimed(world: World) -> None:
    (id_,) = await world.post("m")
    sender = await world.sender()
    assert await world.store.queue.intend(sender.epoch, [id_]) == frozenset()


async def test_a_2xx_ends_it_as_sent(world: World) -> None:
    await world.post("m")
    sender = await world.sender()
    (message,) = await sender.authorised()
    assert await sender.settle(sent(message)) == replace(
        await sender.settle(), settled=frozenset({message.id})
    )
    assert await world.state("m") is State.SENT
    assert await world.events("m") == [EventType.SENT]


async def test_a_finish_repeated_changes_nothing(world: World) -> None:
    await world.post("m")
    sender = await world.sender()
    (message,) = await sender.authorised()
    await sender.settle(sent(message))
    again = await sender.settle(sent(message))
    assert (again.settled, again.late) == (frozenset(), frozenset())
    assert await world.events("m") == [EventType.SENT]


async def test_finishes_and_releases_of_one_flush_commit_together(world: World) -> None:
    await world.post("a", "b", "c", "d")
    sender = await world.sender()
    a, b, c, d = await sender.authorised()
    settled = await sender.settle(sent(a), back(b, delay=FAR), failed(c), unknown(d))
    assert settled.settled == {a.id, b.id, c.id, d.id}
    states = [await world.state(id_) for id_ in "abcd"]
    assert states == [State.SENT, State.DEFERRED, State.ERROR, State.UNKNOWN]


async def test_only_the_epoch_that_claimed_may_settle(world: World) -> None:
    await world.post("m")
    sender = await world.sender()
    (message,) = await sender.authorised()
    stranger = await world.sender("second", slot=1)
    assert (await stranger.settle(failed(message))).settled == frozenset()
    assert (await stranger.settle(back(message))).settled == frozenset()
    assert await world.state("m") is State.SENDING
    assert await world.events("m") == []


async def test_recipients_keep_their_own_fate_over_attempts(world: World) -> None:
    await world.post("m")
    sender = await world.sender()
    (message,) = await sender.authorised()
    refused = RecipientOutcome(1, False, "no@example.org", 550, "5.1.1", "unknown", True)
    accepted = RecipientOutcome(0, True, "yes@example.org")
    await sender.settle(back(message, recipients=(accepted, refused)))
    (again,) = await sender.authorised()
    assert sorted(again.recipients, key=lambda r: r.index) == [accepted, refused]
    await sender.settle(sent(again))
    view = await world.store.directory.message(world.tenant, "m")
    assert view is not None
    assert view.refused == (refused,)


async def test_cancelled_before_its_intent_it_gets_none(world: World) -> None:
    await world.post("waiting", "claimed")
    sender = await world.sender()
    await world.store.directory.cancel(world.tenant, "waiting")
    (message,) = await sender.claim()
    assert await world.store.directory.cancel(world.tenant, "claimed") is State.CANCELLED
    assert await sender.intend(message) == frozenset()
    assert (await sender.settle(back(message))).settled == frozenset()
    assert [await world.state(id_) for id_ in ("waiting", "claimed")] == [State.CANCELLED] * 2
    assert await world.events("waiting") == [EventType.CANCELLED]


async def test_cancelled_after_its_intent_it_goes_on_and_says_so(world: World) -> None:
    await world.post("m")
    sender = await world.sender()
    (message,) = await sender.authorised()
    assert await world.store.directory.cancel(world.tenant, "m") is State.SENDING
    await sender.settle(sent(message))
    assert await world.store.directory.cancel(world.tenant, "m") is State.SENT
    assert await world.store.directory.cancel(world.tenant, "nobody") is None


async def test_what_waits_too_long_expires_and_is_reported(world: World) -> None:
    await world.post("old", max_age=0.001)
    await world.post("date", expires_at=1000.0)
    await world.post("fresh")
    assert await world.store.directory.expire(limit=1) == 1
    assert await world.store.directory.expire(limit=10) == 1
    assert [await world.state(id_) for id_ in ("old", "date", "fresh")] == [
        State.EXPIRED,
        State.EXPIRED,
        State.PENDING,
    ]
    assert await world.events("old") == [EventType.EXPIRED]


async def test_what_is_being_sent_does_not_expire_under_its_sender(world: World) -> None:
    await world.post("m", max_age=0.001)
    sender = await world.sender()
    (message,) = await sender.claim()
    assert message.expired
    assert await world.store.directory.expire(limit=10) == 0
    detail = EventDetail(attempt=1, error="Expired before it could be sent")
    await sender.settle(
        replace(failed(message), status=Status.EXPIRED, event=EventType.EXPIRED, detail=detail)
    )
    assert await world.state("m") is State.EXPIRED
