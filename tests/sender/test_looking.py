"""When a sender that has nothing to do looks for work again by itself."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mailproxy.config import Settings
from mailproxy.model import State
from sql.store import SqlStore
from tests.sender.world import make_world
from tests.support.smtp import Sink
from workers.control import Wake
from workers.sender.account import LOOK_AGAIN

LATER = {"dispatch_on_arrival": False, "send_loop_interval": 60 * LOOK_AGAIN}


@pytest.mark.parametrize("unasked", [{"test_mode": True}, LATER], ids=["never", "later"])
async def test_work_waits_until_somebody_asks_for_it(
    unasked: dict[str, object], store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port)
        world = replace(world, settings=settings.model_copy(update=unasked))
        await world.post()
        steps: list[str] = []
        async with world.sender(at=steps.append) as life:
            # What was sent made room, and room is looked into: once, before it is asked about again.
            await world.until(lambda _states: steps.count("claimed") == 2)
            await world.all_in(State.SENT)
            (late,) = await world.post()
            await asyncio.sleep(1.5 * LOOK_AGAIN)  # nothing tells that nothing happens
            assert (await world.states())[late] is State.PENDING
            life.inbox.put_nowait(Wake(((world.account, 0),)))
            await world.all_in(State.SENT, seconds=20 * LOOK_AGAIN)


@pytest.mark.parametrize("unasked", [{"test_mode": True}, {}], ids=["once", "always"])
async def test_a_sender_at_the_watermark_finds_what_was_resumed_before_it(
    unasked: dict[str, object], store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port)
        world = replace(world, settings=settings.model_copy(update=unasked))
        held = await world.post(n=3, batch_code="b", due_at=time.time() - 3600.0)
        await store.directory.suspend(world.tenant, "b")
        others = set(await world.post(n=20))
        async with world.sender(quick=-1.0) as life:
            await world.until(lambda states: all(states[id_] is State.SENT for id_ in others))
            assert {(await world.states())[id_] for id_ in held} == {State.SUSPENDED}
            await store.directory.activate(world.tenant, "b")
            life.inbox.put_nowait(Wake(((world.account, 0),)))
            await world.all_in(State.SENT)
