"""A sender that must not go on, and lives: it ends, and nothing that it had claimed stays behind."""

import asyncio
from pathlib import Path

from mailproxy.config import Settings
from mailproxy.model import OnUnknownOutcome, State
from sql.store import SqlStore
from tests.sender.world import make_world
from tests.support.smtp import Sink
from workers.frame import TRY_AGAIN, Life
from workers.sender import loop


async def test_what_was_claimed_under_a_lost_lease_is_sent_by_the_next_owner(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log", delay=0.01) as sink:
        world = await make_world(store, settings, sink.port, on_unknown_outcome=OnUnknownOutcome.HOLD)
        ids = await world.post(n=100)
        async with world.sender():
            await world.until(lambda states: State.SENT in states.values())
            (loser,) = await store.fleet.processes()
            await store.queue.renew_leases(loser.epoch, [world.account], -1.0)
            async with asyncio.timeout(10):
                while await store.fleet.processes():
                    await asyncio.sleep(0.02)
        assert 0 < len(sink.messages()) < len(ids), "the lease was not lost under load"
        async with world.sender():
            await world.all_in(State.SENT, seconds=5)
        assert sorted(one.id or "" for one in sink.messages()) == sorted(ids)


async def test_what_a_bug_left_claimed_is_sent_by_the_next_owner(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    offers = 0

    def bug(step: str) -> None:
        nonlocal offers
        offers += step == "offered"
        if offers == 3:
            raise ZeroDivisionError

    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, on_unknown_outcome=OnUnknownOutcome.HOLD)
        ids = await world.post(n=20)
        life = Life(settings, "sender", 1, "test/broken", assigned=((world.account, 0),))
        assert await loop.entry(life, at=bug) == TRY_AGAIN
        assert len(sink.messages()) < len(ids), "it broke too late"
        async with world.sender(succeeds=(life.owner,)):
            await world.all_in(State.SENT, seconds=5)
        assert sorted(one.id or "" for one in sink.messages()) == sorted(ids)
