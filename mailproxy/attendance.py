"""Being known to the fleet: entered at birth, seen every few seconds, struck off at the end."""

import asyncio
from contextlib import suppress

from mailproxy import log
from mailproxy.errors import StorageUnavailable
from mailproxy.model import Epoch, Seconds
from mailproxy.store import Fleet

_FAREWELL: Seconds = 2.0

_log = log.get(__name__)


async def attend(fleet: Fleet, owner: str, node: str, role: str, *, every: Seconds) -> None:
    """Run until cancelled. For processes that own nothing: one declared dead by mistake simply enters anew."""
    entry: asyncio.Task[Epoch] | None = None
    try:
        while True:
            try:
                if entry is None or not await fleet.beat(entry.result()):
                    entry = asyncio.create_task(fleet.register(owner, node, role))
                    await asyncio.shield(entry)  # a stop right now must still learn what it has to leave
            except StorageUnavailable as error:
                entry = None if entry is None or entry.exception() else entry
                _log.debug("not_seen", owner=owner, error=error.detail)
            await asyncio.sleep(every)
    finally:
        if entry is not None:
            with suppress(StorageUnavailable, TimeoutError):
                async with asyncio.timeout(_FAREWELL):
                    await fleet.leave(await entry)
