"""Group commit: what is asked while one commit runs goes into the next (RELIABILITY §1.3, steps 4 and 6)."""

import asyncio
from collections.abc import Callable, Sequence

from mailproxy import log
from mailproxy.errors import StorageUnavailable
from mailproxy.model import Epoch, MessageId, Seconds
from mailproxy.records import Finish, Release, Settled
from mailproxy.store import Queue

LARGEST_INTENT = 64
LARGEST_FINISH = 200
FINISH_EVERY: Seconds = 0.03
LONGEST_PAUSE: Seconds = 2.0

_log = log.get(__name__)


class Intents:
    """Asks for durable permission to send dots. Only a True answer is one."""

    def __init__(self, queue: Queue, epoch: Epoch, *, broken: Callable[[str], None]) -> None:
        self._queue = queue
        self._epoch = epoch
        self._broken = broken
        self._waiting: list[tuple[MessageId, bool, asyncio.Future[bool]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, message: MessageId, *, limited: bool) -> bool:
        """False when refused, or when the database cannot say: then no dot may be sent."""
        granted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((message, limited, granted))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await granted

    async def _run(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:LARGEST_INTENT], self._waiting[LARGEST_INTENT:]
                await self._commit(group)
        finally:
            self._task = None

    async def _commit(self, group: Sequence[tuple[MessageId, bool, asyncio.Future[bool]]]) -> None:
        granted: frozenset[MessageId] = frozenset()
        try:
            granted = await self._queue.intend(
                self._epoch, [message for message, _, _ in group], limited=any(x for _, x, _ in group)
            )
        except StorageUnavailable as e:
            _log.warning("intent_not_recorded", messages=len(group), error=e.detail)
        except Exception as e:  # noqa: BLE001 - a bug here must end the process, not leave sessions waiting
            _log.error("intent_broke", exc_info=True)
            self._broken(f"a bug: {type(e).__name__}")
        finally:
            for message, _, answer in group:
                if not answer.done():
                    answer.set_result(message in granted)


class Settlements:
    """Brings outcomes into the database and keeps at it: what is added here is in the journal if it matters.

    `covered` is called when everything added so far is committed, and nothing else has been added meanwhile.
    """

    def __init__(
        self,
        queue: Queue,
        epoch: Epoch,
        *,
        covered: Callable[[], None],
        settled: Callable[[Settled], None] = lambda _: None,
    ) -> None:
        self._queue = queue
        self._epoch = epoch
        self._covered = covered
        self._settled = settled
        self._pending: list[Finish | Release] = []
        self._asked = asyncio.Event()
        self._full = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def add(self, settlement: Finish | Release) -> None:
        self._pending.append(settlement)
        self._empty.clear()
        self._asked.set()
        if len(self._pending) >= LARGEST_FINISH:
            self._full.set()

    @property
    def waiting(self) -> int:
        return len(self._pending)

    async def flushed(self) -> None:
        """Return once nothing is left to commit."""
        self._full.set()
        await self._empty.wait()

    async def run(self) -> None:
        """Commit for ever; cancel to end."""
        pause: Seconds = FINISH_EVERY
        while True:
            await self._asked.wait()
            await self._gather(pause)
            pause = FINISH_EVERY if await self._flush() else min(pause * 2, LONGEST_PAUSE)

    async def _gather(self, pause: Seconds) -> None:
        try:
            async with asyncio.timeout(pause):
                await self._full.wait()
        except TimeoutError:
            return

    async def _flush(self) -> bool:
        """One commit; on trouble everything stays pending, to be tried again."""
        group = self._pending[:LARGEST_FINISH]
        self._full.clear()
        try:
            settled = await self._queue.settle(
                self._epoch,
                [one for one in group if isinstance(one, Finish)],
                [one for one in group if isinstance(one, Release)],
            )
        except StorageUnavailable as e:
            _log.warning("outcomes_wait", waiting=len(self._pending), error=e.detail)
            return False
        del self._pending[: len(group)]
        self._settled(settled)
        if not self._pending:
            self._asked.clear()
            self._covered()
            self._empty.set()
        elif len(self._pending) >= LARGEST_FINISH:
            self._full.set()
        return True
