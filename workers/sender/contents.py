"""Long content that came with its message, brought from the store: at hand once for all messages that have it."""

import asyncio
from pathlib import Path
from weakref import WeakValueDictionary

from mailproxy.attachments.held import Held, Incoming
from mailproxy.attachments.judgement import Failed
from mailproxy.model import TenantPk
from mailproxy.store_contents import Contents

AT_ONCE = 4

Key = tuple[TenantPk, str]


class KeptContents:
    """What one message has at hand another one need not read."""

    def __init__(self, contents: Contents, spool: Path) -> None:
        self._contents = contents
        self._spool = spool
        self._places = asyncio.Semaphore(AT_ONCE)
        self._held: WeakValueDictionary[Key, Held] = WeakValueDictionary()
        self._reading: dict[Key, asyncio.Task[Held | Failed]] = {}

    async def get(self, tenant: TenantPk, sha256: str) -> Held | Failed:
        """Raises StorageUnavailable."""
        key = (tenant, sha256)
        found = self._held.get(key)
        if found is not None:
            return found
        reading = self._reading.get(key)
        if reading is None:
            reading = self._reading[key] = asyncio.create_task(self._read(key))
            reading.add_done_callback(lambda task: self._landed(key, task))
        return await asyncio.shield(reading)

    async def aclose(self) -> None:
        tasks = [*self._reading.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _landed(self, key: Key, task: "asyncio.Task[Held | Failed]") -> None:
        del self._reading[key]
        if not task.cancelled():
            task.exception()

    async def _read(self, key: Key) -> Held | Failed:
        tenant, sha256 = key
        incoming = Incoming(self._spool)
        n = 0
        async with self._places:
            try:
                while (piece := await self._contents.piece(tenant, sha256, n)) is not None:
                    incoming.take(piece)
                    n += 1
            except OSError as error:
                return Failed(f"cannot be kept: {error.strerror or error}", temporary=True)
        held = incoming.held()
        if held.digests.sha256 != sha256:
            return Failed("its stored content is incomplete" if n else "its stored content is gone")
        self._held[key] = held
        return held
