"""What is due on the node: asked from the start, or only of what has fallen due since where that takes long."""

import time
from collections.abc import Callable
from math import inf

from mailproxy.looks import FROM_START, Look
from mailproxy.model import Instant, Seconds
from mailproxy.records import DueAccounts
from mailproxy.store import Queue
from workers.beside import Beside

QUICK: Seconds = 0.05


class Lookout:
    """`found` is called when a look from the start found an account that nobody knew of."""

    def __init__(
        self, queue: Queue, node: str, slots: int, found: Callable[[], None], quick: Seconds = QUICK
    ) -> None:
        self._queue = queue
        self._node = node
        self._slots = slots
        self._found = found
        self._known = DueAccounts((), None)
        self._next_at: Instant = inf
        self._beside = Beside(self._look_from_start, quick)

    async def next(self, *, hinted: bool) -> DueAccounts:
        """May name an account whose rows are gone since the last look from the start."""
        since = self._beside.since
        begun = time.monotonic()
        due = await self._queue.due_accounts(self._node, self._slots, newer_than=begun - since[0])
        now = time.monotonic()
        if since == FROM_START:
            self._learn(due, now)
        else:
            both = {*self._known.accounts, *due.accounts}
            self._known = DueAccounts(tuple(sorted(both)), self._soonest(due, now))
        is_start_wanted = hinted or now >= self._next_at
        self._beside.looked(since, _look(begun, now), is_start_wanted=is_start_wanted)
        return self._known

    async def stop(self) -> None:
        await self._beside.stop()

    def _learn(self, due: DueAccounts, now: Instant) -> None:
        self._known = due
        self._next_at = inf if due.next_due_in is None else now + due.next_due_in

    def _soonest(self, due: DueAccounts, now: Instant) -> Seconds | None:
        waits = [
            wait for wait in (due.next_due_in, self._next_at - now) if wait is not None and 0 < wait < inf
        ]
        return min(waits, default=None)

    async def _look_from_start(self) -> Look:
        begun = time.monotonic()
        due = await self._queue.due_accounts(self._node, self._slots)
        now = time.monotonic()
        if not set(due.accounts) <= set(self._known.accounts):
            self._found()
        self._learn(due, now)
        return _look(begun, now)


def _look(begun: Instant, now: Instant) -> Look:
    return Look((inf,) * len(FROM_START), at=begun, took=now - begun)
