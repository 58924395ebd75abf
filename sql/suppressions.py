"""Addresses that a tenant's mail is not sent to: listed, entered by somebody or for a bounce, removed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mailproxy.model import EventType, MessageId, TenantPk
from mailproxy.suppressions import Cause, NewSuppression, Suppression, SuppressionFilter, key_of
from sql import rows
from sql.engine import Engine, Work, one
from sql.queries import Row, Step

_KINDS = {Cause.HARD_BOUNCE: EventType.BOUNCE, Cause.COMPLAINT: EventType.COMPLAINT}


@dataclass(frozen=True, slots=True)
class SqlSuppressions:
    engine: Engine

    async def listed(
        self, tenant: TenantPk, wanted: SuppressionFilter, *, after: str, limit: int
    ) -> list[Suppression]:
        params = {
            "tenant": tenant,
            "text": None if wanted.text is None else f"%{rows.like(wanted.text)}%",
            "reason": None if wanted.cause is None else str(wanted.cause),
            "after": after,
            "limit": limit,
        }
        found = await self.engine.read(lambda: one("suppressions", **params))
        return [_suppression(row) for row in found]

    async def among(self, tenant: TenantPk, addresses: Iterable[str]) -> dict[str, Cause]:
        wanted = sorted(set(addresses))
        found = await self.engine.read(lambda: one("suppressed_among", tenant=tenant, addresses=wanted))
        return {address: Cause(cause) for address, cause in found}

    async def add(self, tenant: TenantPk, entries: Sequence[NewSuppression]) -> int:
        wanted = {entry.address: entry for entry in entries}
        return await self.engine.write(lambda: _add(tenant, wanted))

    async def remove(self, tenant: TenantPk, address: str) -> bool:
        return await self.engine.write(lambda: _remove(tenant, address))

    async def forget(self, *, limit: int) -> int:
        return len(await self.engine.write(lambda: one("forget_suppressions", limit=limit)))


def bounced(tenant: TenantPk, message: MessageId, recipients: Mapping[str, Cause]) -> Step:
    """For a transaction that has entered the events of verified bounces or complaints: it lists these recipients if
    the tenant wants that."""
    values = [
        {"address": key_of(one), "recipient": one, "reason": str(cause), "kind": str(_KINDS[cause])}
        for one, cause in recipients.items()
    ]
    return Step("suppress_bounced", {"tenant": tenant, "message": message}, values)


def _add(tenant: TenantPk, wanted: Mapping[str, NewSuppression]) -> Work[int]:
    values = [
        {"address": entry.address, "reason": str(entry.cause), "expires_at": entry.expires_at}
        for entry in wanted.values()
    ]
    (known, _) = yield (
        Step("suppressed_among", {"tenant": tenant, "addresses": list(wanted)}),
        Step("suppress", {"tenant": tenant}, values),
    )
    return len(wanted) - len(known)


def _remove(tenant: TenantPk, address: str) -> Work[bool]:
    (known, _) = yield (
        Step("suppressed_among", {"tenant": tenant, "addresses": [address]}),
        Step("unsuppress", {"tenant": tenant, "address": address}),
    )
    return bool(known)


def _suppression(row: Row) -> Suppression:
    address, cause, created_at, event_id, expires_at = row
    return Suppression(address, Cause(cause), created_at, event_id, expires_at)
