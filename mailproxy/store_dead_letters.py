"""The port's part for reports that nobody takes; see `store.py`, whose promises hold here, too."""

from collections.abc import Sequence
from typing import Protocol

from mailproxy.model import Epoch, Seconds, TenantPk
from mailproxy.reports import DeadLetter, Held, Selection


class DeadLetters(Protocol):
    async def hold(self, tenant: TenantPk, epoch: Epoch, held: Sequence[Held]) -> None:
        """Let these reports wait by themselves; only the reporter that has the tenant leased may say so."""

    async def set_aside(self, dead_after: Seconds, *, limit: int) -> dict[str, int]:
        """Make dead letters of what has failed for `dead_after` seconds; how many by tenant id. At most `limit` of
        either kind (of a tenant that cannot be reached, refused by themselves), so call again."""

    async def listed(
        self, tenant: TenantPk | None, selection: Selection, *, after: int, limit: int
    ) -> list[DeadLetter]:
        """`after` is the event id of the last letter of the previous page."""

    async def replay(self, tenant: TenantPk | None, selection: Selection) -> list[int]:
        """Report them again, now; the events that they were of."""

    async def discard(self, tenant: TenantPk | None, selection: Selection) -> list[int]:
        """Give up reporting them; the events that they were of."""
