"""Claims of an account's slot: from the start, or from the watermark where that takes long."""

from collections.abc import Callable

from mailproxy.looks import Look
from mailproxy.model import AccountPk, Epoch, Seconds
from mailproxy.records import Claim
from mailproxy.store import Queue
from workers.beside import Beside
from workers.watermark import QUICK


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
        self._beside = Beside(self._look, quick)

    async def next(self, limit: int) -> Claim:
        since = self._beside.since
        claim = await self._queue.claim(
            self._account, self._slot, epoch=self._epoch, limit=limit, since=since
        )
        if claim.look is not None:
            self._beside.looked(since, claim.look, is_start_wanted=len(claim.messages) < limit)
        return claim

    def given_back(self, rows: int) -> None:
        """So many rows are ready again that had been claimed."""
        if rows:
            self._beside.begin_anew()

    async def stop(self) -> None:
        await self._beside.stop()

    async def _look(self) -> Look:
        look = await self._queue.look(self._account)
        if any(due < since for due, since in zip(look.first, self._beside.since, strict=True)):
            self._found()
        return look
