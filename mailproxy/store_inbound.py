"""The port's part for mailboxes; see `store.py`, whose promises hold here, too."""

from collections.abc import Sequence
from typing import Protocol

from mailproxy.inbound import Arrival, Effects, Health, Leased, Mailbox, Ours, Parked, SetAside, TakenIn
from mailproxy.instance import BounceSettings
from mailproxy.model import AccountPk, Epoch, Seconds


class Inbound(Protocol):
    """The mailboxes that are read. What a reader does after its lease has ended does nothing, and answers None."""

    async def account_mailboxes(
        self,
        settings: BounceSettings,
        *,
        held: Sequence[AccountPk],
        succeeds: Sequence[str] = (),
        asked: bool = False,
        limit: int,
    ) -> list[Mailbox]:
        """Accounts' mailboxes that nobody reads and that are due (any with `asked`), but for those `held`."""

    async def lease(
        self,
        mailbox: Mailbox,
        *,
        epoch: Epoch,
        ttl: Seconds,
        succeeds: Sequence[str] = (),
        asked: bool = False,
    ) -> Leased | None:
        """Become its only reader, unless it has one or is not due; whoever is in `succeeds` is known to be dead."""

    async def renew(self, epoch: Epoch, mailboxes: Sequence[int], ttl: Seconds) -> frozenset[int]:
        """Renew the leases that are still ours; those alone are returned."""

    async def settle(self, leased: Leased, epoch: Epoch, *, failure: str | None, wait: Seconds) -> None:
        """End the lease; nobody needs to look for `wait` seconds."""

    async def leave(self, leased: Leased, epoch: Epoch) -> None:
        """End the lease of a visit that was interrupted: it tells nothing of how the mailbox stands."""

    async def checked(self, leased: Leased, epoch: Epoch) -> bool:
        """It was just read to its end, and goes on to be read."""

    async def opened(self, leased: Leased, epoch: Epoch, uidvalidity: int) -> int | None:
        """The last UID that was taken in under this UIDVALIDITY; under another one all begins anew."""

    async def undisposed(self, leased: Leased, limit: int) -> list[int]:
        """UIDs of mails that may leave the mailbox and have not yet."""

    async def disposed(self, leased: Leased, uidvalidity: int, uids: Sequence[int]) -> None: ...

    async def take(
        self, leased: Leased, epoch: Epoch, arrival: Arrival, effects: Effects, ours: Ours
    ) -> TakenIn | None:
        """Enter the mail's fingerprint, its effects and its UID (RELIABILITY I1); each fingerprint
        has effects once."""

    async def quarantine(self, leased: Leased, epoch: Epoch, arrival: Arrival, reason: str) -> TakenIn | None:
        """Go past a mail that cannot be had whole; `arrival` holds what there is of it."""

    async def skip(self, leased: Leased, epoch: Epoch, uidvalidity: int, uid: int) -> bool:
        """Go past a mail that is no longer there."""

    async def stuck(self, leased: Leased, epoch: Epoch, uid: int) -> int | None:
        """How often this mail could not be fetched, this time included."""

    async def parked(self, leased: Leased) -> Parked | None:
        """The next of the mails that came too early."""

    async def retry(
        self, leased: Leased, epoch: Epoch, parked: Parked, effects: Effects, ours: Ours
    ) -> TakenIn | None:
        """As `take`, for what it said to be EARLY."""

    async def health(self, account: AccountPk | None) -> Health | None: ...
    async def failing(self) -> int:
        """How many mailboxes cannot be read."""

    async def quarantined(self, tenant_id: str | None, *, before: int | None, limit: int) -> list[SetAside]:
        """Mails that were set aside, of all mailboxes or of a tenant's accounts; the newest come first."""

    async def forget_quarantined(self, older_than: Seconds, *, limit: int) -> int: ...
    async def forget_seen(self, older_than: Seconds, *, limit: int) -> int:
        """Forget fingerprints that are older; at most `limit`, so call again."""
