"""The port's part for certified mail (PEC); see `store.py`, whose promises hold here, too."""

from typing import Protocol

from mailproxy.certified import KeptReceipt
from mailproxy.model import Seconds, TenantPk


class CertifiedMail(Protocol):
    """What a receipt does is done by `Inbound.take`, with its mail."""

    async def receipts(self, tenant: TenantPk, client_id: str) -> list[KeptReceipt] | None:
        """Those kept for a client's id, the first first; None when nothing is known of it."""

    async def receipt(self, tenant: TenantPk, client_id: str, number: int) -> bytes | None:
        """One of them, octet for octet as it lay in the mailbox."""

    async def miss(self, timeout: Seconds, *, limit: int) -> tuple[int, int]:
        """Look at messages whose acceptance may be missing, at most `limit`: how many, and how many have timed out."""

    async def forget_receipts(self, older_than: Seconds, *, limit: int) -> int:
        """Remove receipts kept for longer; at most `limit`, so call again."""
