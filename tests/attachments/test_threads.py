"""Threads for calls that may hang: whose they are, and when they come free."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest

from mailproxy.attachments.threads import NoRoom, Room, Threads


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads(Room(threads=3, for_one=2, patience=0.0), "test")
    yield made
    made.close()


class Hanging:
    """Calls that do not end before `end` is set."""

    def __init__(self, threads: Threads) -> None:
        self.end = threading.Event()
        self._threads = threads

    async def call(self, whose: str) -> None:
        """Begin one, and give it up."""
        begun = threading.Event()

        def work() -> None:
            begun.set()
            self.end.wait(60.0)

        task = asyncio.create_task(self._threads.run(whose, work, 60.0))
        async with asyncio.timeout(20):
            while not begun.is_set() and not task.done():
                await asyncio.sleep(0.001)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def hanging(threads: Threads) -> Iterator[Hanging]:
    made = Hanging(threads)
    yield made
    made.end.set()


async def test_a_call_that_is_given_up_holds_its_thread_until_it_ends(
    threads: Threads, hanging: Hanging
) -> None:
    await hanging.call("a")
    await hanging.call("a")
    with pytest.raises(NoRoom):
        await threads.run("a", int, 20.0)
    assert await threads.run("b", int, 20.0) == 0
    hanging.end.set()
    async with asyncio.timeout(20):
        while True:
            try:
                assert await threads.run("a", int, 20.0) == 0
                return
            except NoRoom:
                await asyncio.sleep(0.01)


async def test_nothing_is_begun_that_would_wait_for_a_thread(threads: Threads, hanging: Hanging) -> None:
    for whose in ("a", "a", "b"):
        await hanging.call(whose)
    for whose in ("b", "c"):
        with pytest.raises(NoRoom):
            await threads.run(whose, int, 20.0)


async def test_nobody_waits_longer_than_was_said_for_a_call(threads: Threads, hanging: Hanging) -> None:
    with pytest.raises(TimeoutError):
        await threads.run("a", lambda: hanging.end.wait(60.0), 0.01)


async def test_what_a_call_raises_is_raised_and_its_thread_is_free(threads: Threads) -> None:
    for _ in range(3):
        with pytest.raises(ValueError, match="x"):
            await threads.run("a", lambda: int("x"), 20.0)
