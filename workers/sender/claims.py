"""Claims of an account's slot, and the looks from the start that are taken beside them (policy: watermark.py)."""

import asyncio
import contextlib
import time
from collections.abc import Callable

from mailproxy import log
from mailproxy.errors import StorageUnavailable
from mailproxy.model import AccountPk, Epoch, Seconds
from mailproxy.records import Claim
from mailproxy.store import Queue
from workers.sender.watermark import QUICK, Watermark

_log = log.get(__name__)


class Claims:
    """`found` is called when a look from the start found what claims had passed by; `quick` is for tests."""

    def __init__(
        self,
        queue: Queue,
        account: AccountPk,
        slot: int,
        epoch: Epoch,
        found: Callable[[], None],
        quick: Seconds = QUICK,
    ) -> None:
        self._queue = queue
        self._account = account
        self._slot = slot
        self._epoch = epoch
        self._found = found
        self._quick = quick
        self._mark = Watermark()
        self._sooner = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def next(self, limit: int) -> Claim:
        if self._looking is not None and self._looking.done():
            self._looking.result()
        asked = self._mark.since
        was_used = self._mark.is_used
        claim = await self._queue.claim(
            self._account, self._slot, epoch=self._epoch, limit=limit, since=asked
        )
        if claim.look is None:
            return claim
        if was_used:
            self._mark = self._mark.after_claim(asked, claim.look)
        else:
            self._mark = self._mark.after_look(claim.look, time.monotonic(), self._quick)
        if self._mark.is_used and len(claim.messages) < limit:
            self._mark = self._mark.with_room()
            self._sooner.set()
        if self._mark.is_used and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look_from_start())
        return claim

    def given_back(self, rows: int) -> None:
        """So many rows are ready again that had been claimed."""
        if rows:
            self._mark = Watermark()
            self._sooner.set()

    async def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look_from_start(self) -> None:
        while (look_at := self._mark.look_at) is not None:
            self._sooner.clear()
            if (pause := look_at - time.monotonic()) > 0.0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._sooner.wait()
                continue
            try:
                look = await self._queue.look(self._account)
            except StorageUnavailable as e:
                _log.warning("cannot_look", account_pk=self._account, error=e.detail)
                self._mark = Watermark()
                return
            passed = any(due < since for due, since in zip(look.first, self._mark.since, strict=True))
            self._mark = self._mark.after_look(look, time.monotonic(), self._quick)
            if passed:
                self._found()
