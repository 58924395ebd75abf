"""A sender killed or stopped at each step of the hand-over: what the server got, and what the row says.

Counted at the server's log, which is written before each reply (RELIABILITY §2.1, F2 to F4).
"""

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest

from mailproxy.config import Settings
from mailproxy.model import OnUnknownOutcome, State
from sql.store import SqlStore
from tests.sender.conftest import Doom
from tests.sender.doomed import POISONED
from tests.sender.world import World, make_world
from tests.support.smtp import Sink, read_log, sink_process
from workers.sender.recovery import POISON_AFTER

HOLD, RETRY = OnUnknownOutcome.HOLD, OnUnknownOutcome.RETRY

# step, policy -> deliveries at the server, state, is the doubt named by an event
TABLE = [
    ("claimed", HOLD, 1, State.SENT, False),
    ("claimed", RETRY, 1, State.SENT, False),
    ("prepared", HOLD, 1, State.SENT, False),
    ("offered", HOLD, 1, State.SENT, False),
    ("offered", RETRY, 1, State.SENT, False),
    ("intended", HOLD, 0, State.UNKNOWN, True),
    ("intended", RETRY, 1, State.SENT, True),
    ("replied", HOLD, 1, State.UNKNOWN, True),
    ("replied", RETRY, 2, State.SENT, True),
    ("journaled", HOLD, 1, State.SENT, False),
    ("journaled", RETRY, 1, State.SENT, False),
    ("finished", HOLD, 1, State.SENT, False),
    ("finished", RETRY, 1, State.SENT, False),
]


@pytest.mark.parametrize(("step", "policy", "deliveries", "state", "doubted"), TABLE)
async def test_killed_at(
    step: str,
    policy: OnUnknownOutcome,
    deliveries: int,
    state: State,
    doubted: bool,
    store: SqlStore,
    settings: Settings,
    tmp_path: Path,
    doom: Doom,
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, on_unknown_outcome=policy, retry_delays=(0.1,))
        (id_,) = await world.post()
        killed = await doom(world, step, "kill")
        assert await killed.wait() == -signal.SIGKILL
        async with world.sender(succeeds=("test/doomed.0",)):
            await world.all_in(state)
        assert len(sink.messages()) == deliveries
        assert len({m.sha256 for m in sink.messages()}) <= 1
        named = {str(event.event_type) for event in await world.events(id_)}
        assert doubted == bool(named & {"unknown", "retry_after_unknown"})
        assert (await world.view(id_)).attempts == (2 if doubted and policy is RETRY else 1)


@pytest.mark.parametrize("policy", [HOLD, RETRY])
async def test_a_zombie_stopped_before_its_intent_sends_nothing(
    policy: OnUnknownOutcome, store: SqlStore, settings: Settings, tmp_path: Path, doom: Doom
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, on_unknown_outcome=policy)
        await world.post()
        zombie = await doom(world, "offered", "stop")
        await _lease_ended(world)
        async with world.sender():
            await world.all_in(State.SENT)
            zombie.send_signal(signal.SIGCONT)
            assert await zombie.wait() == 75
        assert len(sink.messages()) == 1


async def test_a_zombie_stopped_after_its_intent_does_not_send_past_its_lease(
    store: SqlStore, settings: Settings, tmp_path: Path, doom: Doom
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, on_unknown_outcome=HOLD)
        (id_,) = await world.post()
        zombie = await doom(world, "intended", "stop")
        await _lease_ended(world)
        async with world.sender():
            await world.all_in(State.UNKNOWN)
            zombie.send_signal(signal.SIGCONT)
            assert await zombie.wait() == 75
        assert sink.messages() == []
        assert (await world.view(id_)).state is State.UNKNOWN


async def test_a_zombie_that_had_its_reply_turns_unknown_into_sent(
    store: SqlStore, settings: Settings, tmp_path: Path, doom: Doom
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, on_unknown_outcome=HOLD)
        (id_,) = await world.post()
        zombie = await doom(world, "replied", "stop")
        await _lease_ended(world)
        async with world.sender():
            await world.all_in(State.UNKNOWN)
        zombie.send_signal(signal.SIGCONT)
        await world.all_in(State.SENT)
        assert await zombie.wait() == 75
        assert len(sink.messages()) == 1
        assert [str(e.event_type) for e in await world.events(id_)] == ["unknown", "sent"]


async def _lease_ended(world: World) -> None:
    """Until the zombie's lease is free to be taken."""
    async with asyncio.timeout(10):
        while True:
            due = await world.store.queue.due_accounts("another-node", 1)
            if any(account.account_pk == world.account for account in due.accounts):
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("dialect", ["postgres"])
async def test_a_sender_whose_journal_can_take_no_more_settles_what_it_knows_and_ends(
    store: SqlStore, settings: Settings, tmp_path: Path, doom: Doom
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, on_unknown_outcome=HOLD)
        ids = await world.post("slow20@example.com", n=60)
        full = await doom(world, "replied", "full")
        assert await full.wait() == 75
        assert 0 < len(sink.messages()) < len(ids)
        states = Counter((await world.states()).values())
        assert states == {State.SENT: len(sink.messages()), State.PENDING: len(ids) - len(sink.messages())}
        async with world.sender():
            await world.all_in(State.SENT)
        assert sorted(m.id or "" for m in sink.messages()) == sorted(ids)


async def test_a_message_that_kills_its_sender_is_failed_after_three_deaths_alone_and_others_go_on(
    store: SqlStore, settings: Settings, tmp_path: Path, doom: Doom
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, retry_delays=(0.1,))
        ids = await world.post(n=30)
        bad = ids[10]
        for _ in range(1 + POISON_AFTER):
            assert (await world.view(bad)).state is not State.ERROR
            assert await (await doom(world, bad, "poison")).wait() == POISONED
        async with world.sender(succeeds=(f"test/doomed.{POISON_AFTER}",)):
            await world.all_in(State.SENT, State.ERROR)
        states = await world.states()
        assert [id_ for id_, state in states.items() if state is State.ERROR] == [bad]
        assert {m.id for m in sink.messages()} == set(ids) - {bad}
        (event,) = await world.events(bad)
        assert "crashed_sender" in (event.detail.error or "")


async def test_kills_under_load_lose_nothing_and_send_nothing_twice_with_hold(
    store: SqlStore, settings: Settings, tmp_path: Path, doom: Doom
) -> None:
    log = tmp_path / "sink.log"
    async with sink_process(log) as port:
        world = await make_world(store, settings, port, on_unknown_outcome=HOLD)
        ids = await world.post(n=300)
        steps = ["intended", "replied", "offered", "journaled", "claimed"]
        for step in steps:
            assert await (await doom(world, step, "kill")).wait() == -signal.SIGKILL
        async with world.sender(succeeds=tuple(f"test/doomed.{n}" for n in range(len(steps)))):
            states = await world.until(lambda s: set(s.values()) <= {State.SENT, State.UNKNOWN}, 40)
        received = [m.id for m in read_log(log)]
        assert len(received) == len(set(received)), "handed over twice"
        unknown = {id_ for id_, state in states.items() if state is State.UNKNOWN}
        assert set(received) | unknown == set(ids), "lost"
        assert {id_ for id_, state in states.items() if state is State.SENT} <= set(received)
        assert 0 < len(unknown) <= len(steps) * settings.sender_connections
