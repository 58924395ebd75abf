"""Who sends: what the instance puts on every message, the same on all nodes and after every restart."""

import time
from contextlib import suppress
from dataclasses import dataclass, field

from mailproxy import instance
from mailproxy.config import Settings
from mailproxy.errors import StorageUnavailable
from mailproxy.model import Seconds
from mailproxy.store import Administration, Store

FRESH: Seconds = 30.0


@dataclass(frozen=True, slots=True)
class Origin:
    """The instance's bits, the key of its proofs, and where bounces go of messages that do not say."""

    instance: int
    proof_key: bytes = field(repr=False)
    return_path: str | None = None


class Origins:
    """The origin as it is now: the return path may be set while senders run."""

    def __init__(self, administration: Administration, settings: Settings, known: Origin) -> None:
        self._administration = administration
        self._settings = settings
        self._known = known
        self._read_at = time.monotonic()

    async def current(self) -> Origin:
        if time.monotonic() - self._read_at > FRESH:
            with suppress(StorageUnavailable):
                return_path = await _return_path(self._administration, self._settings)
                self._known = Origin(self._known.instance, self._known.proof_key, return_path)
            self._read_at = time.monotonic()
        return self._known


async def origin_of(store: Store, settings: Settings, bits: int) -> Origin:
    key = await store.administration.proof_key()
    return Origin(bits, key, await _return_path(store.administration, settings))


async def _return_path(administration: Administration, settings: Settings) -> str | None:
    """None unless somebody reads the mailbox it leads to."""
    mailbox = instance.bounce(await administration.instance(), settings)
    return mailbox.return_path if mailbox.enabled else None
