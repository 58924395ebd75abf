"""A limit that many share and wait for: places to fetch at, or octets that may be held at once."""

import asyncio
import time
from collections import deque

from mailproxy.model import Seconds

PATIENCE: Seconds = 2.0


class Shares:
    """`total` to be had at once; whoever wants more than all of it gets it alone."""

    def __init__(self, total: int, *, patience: Seconds = PATIENCE) -> None:
        self._total = total
        self._patience = patience
        self._used = 0
        self._moved = time.monotonic()
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def nothing(self) -> "Share":
        """A share that may become one."""
        return Share(self, 0)

    async def take(self, wanted: int, *, at_once: bool = False) -> "Share | None":
        """One's share, in turn; None when for `patience` seconds nobody got or gave back anything.

        `at_once`: by whomever the others wait for, even above the total.
        """
        if at_once or (not self._waiting and self._fits(wanted)):
            return self._taken(wanted)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (wanted, turn)
        self._waiting.append(place)
        try:
            while not turn.done():
                left = self._moved + self._patience - time.monotonic()
                if left <= 0:
                    return None
                await asyncio.wait([turn], timeout=left)
            return Share(self, wanted)
        except asyncio.CancelledError:
            if turn.done():
                self.give(wanted)
            raise
        finally:
            if not turn.done():
                self._waiting.remove(place)
                self._next()

    def grow(self, more: int) -> None:
        """Whoever holds a share may hold more at once: waiting for each other, two would wait for ever."""
        self._used += more

    def give(self, amount: int) -> None:
        self._used -= amount
        self._moved = time.monotonic()
        self._next()

    def _fits(self, wanted: int) -> bool:
        return self._used == 0 or self._used + wanted <= self._total

    def _taken(self, wanted: int) -> "Share":
        self._used += wanted
        self._moved = time.monotonic()
        return Share(self, wanted)

    def _next(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            wanted, turn = self._waiting.popleft()
            self._taken(wanted)
            turn.set_result(None)


class Share:
    """Held until given back, which may be said more than once."""

    def __init__(self, of: Shares, amount: int) -> None:
        self._of = of
        self._amount = amount

    async def more(self, wanted: int, *, at_once: bool = False) -> bool:
        """Whoever holds nothing yet waits like `take`; whoever holds something has it at once."""
        if self._amount:
            self.become(self._amount + wanted)
        elif await self._of.take(wanted, at_once=at_once) is None:
            return False
        else:
            self._amount = wanted
        return True

    def become(self, amount: int) -> None:
        """It turned out to be more, or less."""
        more, self._amount = amount - self._amount, amount
        if more > 0:
            self._of.grow(more)
        elif more:
            self._of.give(-more)

    def give_back(self) -> None:
        self.become(0)
