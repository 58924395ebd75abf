"""A stop that comes while a claim is under way: what it brings is given back."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg

from mailproxy.config import Settings
from mailproxy.model import OnUnknownOutcome, State
from sql.store import SqlStore
from tests.sender.world import make_world
from tests.support.smtp import Sink
from workers.control import Wake


@contextlib.contextmanager
def claims_wait(settings: Settings) -> Iterator[None]:
    """Hold what every claim has to lock."""
    database = settings.database
    if database.path is None:
        with psycopg.connect(database.url) as connection:
            connection.execute("SELECT 1 FROM account_state FOR UPDATE")
            yield
        return
    with contextlib.closing(sqlite3.connect(database.path, isolation_level=None)) as file:
        file.execute("BEGIN IMMEDIATE")
        yield
        file.execute("ROLLBACK")


async def test_what_is_claimed_while_the_sender_stops_is_given_back(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log", delay=0.02) as sink:
        world = await make_world(store, settings, sink.port, on_unknown_outcome=OnUnknownOutcome.HOLD)
        # So that claims are made when asked for only.
        world = replace(world, settings=settings.model_copy(update={"test_mode": True}))
        await world.post("slow1000@example.com")
        async with world.sender() as life:
            await world.until(lambda states: set(states.values()) == {State.SENDING})
            (late,) = await world.post()
            await asyncio.sleep(0.3)  # until the first one is between its dot and the reply
            with claims_wait(settings):
                life.inbox.put_nowait(Wake(((world.account, 0),)))
                await asyncio.sleep(0.2)  # until the claim waits
                life.stop(5.0)
                await asyncio.sleep(0.1)
        assert await store.fleet.processes() == []
        assert (await world.states())[late] is State.PENDING
        async with world.sender():
            await world.all_in(State.SENT, seconds=5)
        assert len(sink.messages()) == 2
