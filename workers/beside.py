"""Looks from the start, taken beside narrowed ones for as long as they take long (policy: watermark.py)."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from mailproxy import log
from mailproxy.errors import StorageUnavailable
from mailproxy.looks import FROM_START, Bounds, Look
from mailproxy.model import Seconds
from workers.watermark import Watermark

_log = log.get(__name__)


class Beside:
    """`look` looks from the start, and does with what it finds what is to be done."""

    def __init__(self, look: Callable[[], Awaitable[Look]], quick: Seconds) -> None:
        self._look = look
        self._quick = quick
        self._mark = Watermark()
        self._sooner = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def since(self) -> Bounds:
        """Where the next look begins."""
        if self._task is not None and self._task.done():
            self._task.result()
        return self._mark.since

    def looked(self, asked: Bounds, look: Look, *, is_start_wanted: bool) -> None:
        """Somebody has looked from `asked` on, and may want the start to be looked at soon."""
        if self._mark.is_used:
            self._mark = self._mark.after_claim(asked, look)
        elif asked == FROM_START:
            self._mark = self._mark.after_look(look, time.monotonic(), self._quick)
        if not self._mark.is_used:
            return
        if is_start_wanted and asked != FROM_START:
            self._mark = self._mark.with_room()
            self._sooner.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._looks())

    def begin_anew(self) -> None:
        """The next look is from the start."""
        self._mark = Watermark()
        self._sooner.set()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _looks(self) -> None:
        while (look_at := self._mark.look_at) is not None:
            self._sooner.clear()
            if (pause := look_at - time.monotonic()) > 0.0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._sooner.wait()
                continue
            try:
                look = await self._look()
            except StorageUnavailable as e:
                _log.warning("cannot_look", error=e.detail)
                self._mark = self._mark.after_failure(time.monotonic())
                continue
            self._mark = self._mark.after_look(look, time.monotonic(), self._quick)
