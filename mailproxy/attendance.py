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
    epoch: Epoch | None = None
    try:
        while True:
            try:
                if epoch is None or not await fleet.beat(epoch):
                    epoch = await fleet.register(owner, node, role)
            except StorageUnavailable as error:
                _log.debug("not_seen", owner=owner, error=error.detail)
            await asyncio.sleep(every)
    finally:
        if epoch is not None:
            with suppress(StorageUnavailable, TimeoutError):
                async with asyncio.timeout(_FAREWELL):
                    await fleet.leave(epoch)
