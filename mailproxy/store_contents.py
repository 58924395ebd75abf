"""The port's part for long content that came with messages; see `store.py`, whose promises hold here, too."""

from collections.abc import Sequence
from typing import Protocol

from mailproxy.model import TenantPk


class Contents(Protocol):
    """Content by its SHA-256 (hexadecimal), once for each tenant; gone some hours after its last message."""

    async def keep(self, tenant: TenantPk, sha256: str, pieces: Sequence[bytes]) -> None:
        """Durable when this returns, and there for the next half hour; messages queued meanwhile keep it there."""

    async def piece(self, tenant: TenantPk, sha256: str, n: int) -> bytes | None:
        """The pieces in order from 0; None after the last one, or when there is no such content."""

    async def forget(self, *, limit: int) -> int:
        """Remove what no message has any more; at most `limit`, so call again."""
