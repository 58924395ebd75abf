"""Suspensions: of everything, of a tenant, of a batch. The row stops every intent; `held` spares claims the batch."""

from collections.abc import Mapping
from dataclasses import dataclass

from mailproxy.model import TenantPk
from mailproxy.records import Suspensions
from sql.engine import Engine, Work, one
from sql.queries import Step

CHUNK = 5000
EVERY_ROW = 1 << 60
ALL = ""


@dataclass(frozen=True, slots=True)
class SqlSuspensions:
    engine: Engine

    async def suspend(self, tenant: TenantPk | None, batch_code: str | None) -> Suspensions:
        """The row first, in a commit of its own: senders stop at once, and a crash half-way leaves it in force."""
        scope: Mapping[str, object] = {"tenant": tenant or 0, "batch_code": batch_code or ALL}
        await self.engine.write(lambda: one("suspend", **scope))
        await self.engine.write(lambda: one("suspension_alone"))
        if batch_code:
            await self._in_chunks("hold_batch", scope)
        return await self.engine.read(lambda: _standing(tenant or 0, batch_code))

    async def activate(self, tenant: TenantPk | None, batch_code: str | None) -> Suspensions | None:
        """The bulk of the rows first, then the suspension together with those held meanwhile."""
        scope: Mapping[str, object] = {"tenant": tenant or 0, "batch_code": batch_code}
        codes = await self.engine.read(lambda: one("suspended_batches", tenant=tenant or 0))
        if batch_code and any(code == ALL for (code,) in codes):
            return None
        await self._in_chunks("release_held", scope)
        return await self.engine.write(lambda: _activate(scope, batch_code))

    async def _in_chunks(self, query: str, scope: Mapping[str, object]) -> None:
        after, changed = 0, CHUNK
        while changed == CHUNK:
            step = {**scope, "after": after, "limit": CHUNK}
            found = await self.engine.write(lambda step=step: one(query, **step))  # type: ignore[misc]
            changed = len(found)
            after = max((id_ for (id_,) in found), default=0)


def _activate(scope: Mapping[str, object], batch_code: str | None) -> Work[Suspensions | None]:
    yield (
        Step("suspension_alone"),
        Step("activate", scope),
        Step("release_held", {**scope, "after": 0, "limit": EVERY_ROW}),
    )
    return (yield from _standing(scope["tenant"], batch_code))


def _standing(tenant: object, batch_code: str | None) -> Work[Suspensions]:
    (codes, pending) = yield (
        Step("suspended_batches", {"tenant": tenant}),
        Step("suspended_pending", {"tenant": tenant, "batch_code": batch_code}),
    )
    found = tuple(code or "*" for (code,) in codes)
    return Suspensions(("*",) if "*" in found else found, pending[0][0])
