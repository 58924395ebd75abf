"""Processes, health and the figures that /status and /metrics show."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from mailproxy.figures import AccountGauge, Overview, ProcessView, QueueDepth, Totals
from mailproxy.model import AccountCondition, Epoch, Priority, Seconds, TenantPk
from sql import migrate, rows
from sql.engine import Engine, Work, one
from sql.queries import Row, Step


@dataclass(frozen=True, slots=True)
class SqlFleet:
    engine: Engine

    async def register(self, owner: str, node: str, role: str) -> Epoch:
        found = await self.engine.write(lambda: one("register", owner=owner, node=node, role=role))
        return Epoch(found[0][0])

    async def beat(self, epoch: Epoch) -> bool:
        return bool(await self.engine.write_soon(lambda: one("beat", epoch=epoch)))

    async def leave(self, epoch: Epoch) -> None:
        await self.engine.write(lambda: one("leave", epoch=epoch))

    async def processes(self) -> list[ProcessView]:
        found = await self.engine.read(lambda: one("processes"))
        return [ProcessView(Epoch(row[0]), *row[1:]) for row in found]

    async def forget_dead(self, silent: Seconds) -> int:
        return len(await self.engine.write(lambda: one("forget_dead", silent=silent)))

    async def check(self) -> None:
        await self.engine.write_soon(lambda: one("check_write"))

    async def lacking_schema(self) -> str | None:
        found = {version for (version,) in await self.engine.read(lambda: one("schema_versions"))}
        lacking = [name for version, name in _ours().items() if version not in found]
        return f"the database lacks {', '.join(lacking)}: run `mail-proxy db migrate`" if lacking else None

    async def instance(self) -> int:
        found = await self.engine.read(lambda: one("instance_bits"))
        return int(found[0][0])

    async def canary(self) -> bytes | None:
        found = await self.engine.read(lambda: one("canary"))
        return bytes(found[0][0]) if found[0][0] is not None else None

    async def put_canary(self, sealed: bytes) -> bool:
        """Store the canary unless there is one already."""
        return bool(await self.engine.write(lambda: one("put_canary", sealed=sealed)))

    async def overview(self, tenant: TenantPk | None = None) -> Overview:
        return await self.engine.read(lambda: _overview(tenant))

    async def totals(self) -> Totals:
        ((messages, sent, error, unknown),) = await self.engine.read(lambda: one("totals"))
        return Totals(messages, sent, error, unknown)

    async def depths(self) -> list[QueueDepth]:
        found = await self.engine.read(lambda: one("depths"))
        return [QueueDepth(t, a, Priority(p), depth, age) for t, a, p, depth, age in found]

    async def account_gauges(self) -> list[AccountGauge]:
        return await self.engine.read(_account_gauges)


@cache
def _ours() -> Mapping[int, str]:
    """The migrations that both dialects have."""
    return {one.version: one.name for one in migrate.known("sqlite")}


def _overview(tenant: TenantPk | None) -> Work[Overview]:
    (counts, queue, reports) = yield (
        Step("overview_counts"),
        Step("overview_queue") if tenant is None else Step("tenant_queue", {"tenant": tenant}),
        Step("overview_reports", {"tenant": tenant}),
    )
    active, tenants, accounts = counts[0]
    return Overview(
        active=bool(active),
        pending=queue[0][0],
        oldest_pending_age=queue[0][1],
        tenants=tenants,
        accounts=accounts,
        reports_pending=reports[0][0],
        oldest_report_age=reports[0][1],
        reports_dead=reports[0][2],
        switched_off=reports[0][3],
    )


def _account_gauges() -> Work[list[AccountGauge]]:
    (accounts, windows) = yield (Step("account_conditions"), Step("limit_windows"))
    left: dict[int, int] = {}
    for window in rows.windows(windows):
        left[window.scope] = min(left.get(window.scope, window.window.left), window.window.left)
    return [_gauge(row, left) for row in accounts]


def _gauge(row: Row, left: dict[int, int]) -> AccountGauge:
    pk, tenant_id, account_id, condition = row
    return AccountGauge(tenant_id, account_id, AccountCondition(condition), left.get(pk))
