"""Threads for calls that block and may hang: so many for each, that those of one hold up nobody else."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from mailproxy.model import Seconds
from mailproxy.shares import PATIENCE, Share, Shares

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Room:
    """How many threads there are, how many of them one may have, and how long it waits while none comes free."""

    threads: int = 8
    for_one: int = 2
    patience: Seconds = PATIENCE


class NoRoom(Exception):
    """All the threads that one may have are held by calls before this one."""


class Threads:
    def __init__(self, room: Room, name: str) -> None:
        self._room = room
        self._pool = ThreadPoolExecutor(room.threads, name)
        self._all = Shares(room.threads, patience=room.patience)
        self._of: dict[str, Shares] = {}

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def run(self, whose: str, work: Callable[[], T], within: Seconds) -> T:
        """Raises NoRoom when nothing was begun, TimeoutError after `within` seconds; the thread is held to its end."""
        of_one = self._of.setdefault(whose, Shares(self._room.for_one, patience=self._room.patience))
        held: list[Share] = []
        call: Future[T] | None = None
        try:
            for shares in (of_one, self._all):
                share = await shares.take(1)
                if share is None:
                    raise NoRoom
                held.append(share)
            call = self._pool.submit(work)
        finally:
            if call is None:
                _give_back(held)
        call.add_done_callback(partial(_ended, asyncio.get_running_loop(), held))
        return await asyncio.wait_for(asyncio.wrap_future(call), within)


def _ended(loop: asyncio.AbstractEventLoop, held: list[Share], _: object) -> None:
    # A thread may outlive the loop that began it.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(_give_back, held)


def _give_back(held: list[Share]) -> None:
    for share in held:
        share.give_back()
