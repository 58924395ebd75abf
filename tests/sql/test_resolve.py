"""Deciding about a message in doubt (RELIABILITY §2.1, transitions 11 and 12)."""

import pytest

from mailproxy.model import EventType, Resolution, State
from mailproxy.records import Claimed
from tests.sql.conftest import Sender, Sql, World, sent, unknown

AGE = 3600.0


async def in_doubt(world: World, **changes: object) -> tuple[Sender, Claimed]:
    await world.post("m", **changes)
    sender = await world.sender()
    (message,) = await sender.authorised()
    await sender.settle(unknown(message))
    return sender, message


async def resolve(world: World, resolution: Resolution, client_id: str = "m") -> State | None:
    return await world.store.directory.resolve(world.tenant, client_id, resolution, max_age=AGE)


async def state(world: World) -> State:
    view = await world.store.directory.message(world.tenant, "m")
    assert view is not None
    return view.state


async def events(world: World) -> list[EventType]:
    return [event.event_type for event in await world.store.directory.events(world.tenant, "m") or ()]


@pytest.mark.parametrize(
    ("resolution", "ends", "event"),
    [
        (Resolution.SENT, State.SENT, EventType.SENT),
        (Resolution.ERROR, State.ERROR, EventType.ERROR),
        (Resolution.RETRY, State.PENDING, EventType.RETRY_AFTER_UNKNOWN),
    ],
)
async def test_a_decision_ends_the_doubt_once_and_is_reported(
    resolution: Resolution, ends: State, event: EventType, world: World
) -> None:
    await in_doubt(world)
    assert await resolve(world, resolution) is State.UNKNOWN
    assert await state(world) is ends
    assert await events(world) == [EventType.UNKNOWN, event]
    reported = [report.event_type for report in await world.store.reports.pending(world.tenant, 10)]
    assert reported == [EventType.UNKNOWN, event]
    assert await resolve(world, resolution) is ends
    assert len(await events(world)) == 2


async def test_only_a_message_in_doubt_can_be_decided(world: World) -> None:
    await world.post("m")
    assert await resolve(world, Resolution.SENT) is State.PENDING
    sender = await world.sender()
    (message,) = await sender.authorised()
    assert await resolve(world, Resolution.RETRY) is State.SENDING
    await sender.settle(sent(message))
    assert await resolve(world, Resolution.ERROR) is State.SENT
    assert await resolve(world, Resolution.SENT, "nobody") is None
    assert await events(world) == [EventType.SENT]


@pytest.mark.parametrize("resolution", Resolution)
async def test_what_comes_late_of_the_attempt_in_doubt_disturbs_no_decision(
    resolution: Resolution, world: World
) -> None:
    sender, message = await in_doubt(world)
    await resolve(world, resolution)
    before = await state(world), await events(world)
    assert (await sender.settle(sent(message, late=True))).late == frozenset()
    assert (await state(world), await events(world)) == before


async def test_a_message_to_be_sent_again_is_claimed_afresh_and_keeps_to_its_suspended_batch(
    world: World, sql: Sql
) -> None:
    sender, first = await in_doubt(world, batch_code="b")
    await world.store.directory.suspend(world.tenant, "b")
    await resolve(world, Resolution.RETRY)
    assert await state(world) is State.SUSPENDED
    assert await sender.claim() == ()
    await world.store.directory.activate(world.tenant, "b")
    (second,) = await sender.claim()
    assert (second.id, second.attempt, second.revision) == (first.id, 1, first.revision + 1)
    assert not second.expired
    assert await sender.intend(second) == {second.id}
    await sender.settle(sent(second))
    assert await state(world) is State.SENT
    assert sql("SELECT count(*) FROM q") == [(0,)]


async def test_a_decision_of_another_tenant_finds_nothing(world: World) -> None:
    await in_doubt(world)
    other = await world.add_tenant("other")
    found = await world.store.directory.resolve(other, "m", Resolution.SENT, max_age=AGE)
    assert found is None
    assert await state(world) is State.UNKNOWN
