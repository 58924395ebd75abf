"""Reports set aside because their tenant did not take them: seen, replayed, discarded."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mailproxy.model import Epoch, EventDetail, EventType, Seconds, TenantPk
from mailproxy.reports import DeadLetter, Held, Selection
from sql.engine import Engine, Work, one
from sql.queries import Row, Step

CHUNK = 1000


@dataclass(frozen=True, slots=True)
class SqlDeadLetters:
    engine: Engine

    async def hold(self, tenant: TenantPk, epoch: Epoch, held: Sequence[Held]) -> None:
        values = [{"event_id": x.event_id, "wait": x.wait, "cause": x.cause} for x in held]
        await self.engine.write(lambda: _hold(tenant, epoch, values))

    async def set_aside(self, dead_after: Seconds, *, limit: int) -> dict[str, int]:
        late = {"dead_after": dead_after, "limit": limit}
        found: Counter[str] = Counter()
        for pk, tenant_id in await self.engine.read(lambda: one("failing_tenants", **late)):
            unheard = partial(one, "set_aside_unheard", tenant=pk, **late)
            found[tenant_id] += len(await self.engine.write(unheard))
        refused = await self.engine.write(lambda: one("set_aside_refused", **late))
        return dict(+(found + Counter(tenant_id for (tenant_id,) in refused)))

    async def listed(
        self, tenant: TenantPk | None, selection: Selection, *, after: int, limit: int
    ) -> list[DeadLetter]:
        step = _selected(tenant, selection, after, limit)
        found = await self.engine.read(lambda: one(step.query, **step.params))
        return [_dead_letter(row) for row in found]

    async def replay(self, tenant: TenantPk | None, selection: Selection) -> list[int]:
        return await self._each("replay", tenant, selection)

    async def discard(self, tenant: TenantPk | None, selection: Selection) -> list[int]:
        return await self._each("discard", tenant, selection)

    async def _each(self, query: str, tenant: TenantPk | None, selection: Selection) -> list[int]:
        """In chunks, each of them a transaction: a long row of letters holds up nobody."""
        done: list[int] = []
        after = 0
        while True:
            step = _selected(tenant, selection, after, CHUNK)
            events, changed = await self.engine.write(lambda step=step: _apply(step, query))  # type: ignore[misc]
            done += changed
            if len(events) < CHUNK:
                return done
            after = events[-1]


def _selected(tenant: TenantPk | None, selection: Selection, after: int, limit: int) -> Step:
    params = {
        "tenant": tenant,
        "events": None if selection.events is None else list(selection.events),
        "happened_from": selection.since,
        "happened_before": selection.until,
        "after": after,
        "limit": limit,
    }
    return Step("dead_letters", params)


def _apply(step: Step, query: str) -> Work[tuple[list[int], list[int]]]:
    (found,) = yield (step,)
    events = [row[0] for row in found]
    (done,) = yield (Step(query, {"events": events}),)
    return events, [row[0] for row in done]


def _hold(tenant: TenantPk, epoch: Epoch, values: Sequence[dict[str, object]]) -> Work[None]:
    yield (Step("hold_reports", {"tenant": tenant, "epoch": epoch}, values),)


def _dead_letter(row: Row) -> DeadLetter:
    event_id, kind, at, detail, *rest = row
    return DeadLetter(event_id, EventType(kind), at, EventDetail.from_json(detail), *rest)
