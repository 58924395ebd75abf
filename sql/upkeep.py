"""What operators ask of the database: why a message waits, what time it is there, which keys seal what."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mailproxy.evidence import MOST_AHEAD, Evidence, Holder, QueueRow, Suspension, Undelivered
from mailproxy.figures import ProcessView
from mailproxy.model import Epoch, Instant, MessageId, Seconds, TenantPk
from mailproxy.records import AccountView, MessageFilter
from mailproxy.vault import Vault, sealed_by
from sql import rows
from sql.engine import Engine, Work, one
from sql.messages import the_one
from sql.queries import Row, Step
from sql.reports import standing

CHUNK = 100
CANARY = "canary"


@dataclass(frozen=True, slots=True)
class SqlUpkeep:
    engine: Engine
    vault: Vault

    async def clock_ahead(self) -> Seconds:
        asked = time.time()
        ((told,),) = await self.engine.read(lambda: one("clock"))
        answered = time.time()
        return float(told) - (asked + answered) / 2

    async def tidy(self) -> None:
        await self.engine.tidy()

    async def known(self, tenant: TenantPk, client_ids: Sequence[str]) -> frozenset[str]:
        ids = list(client_ids)
        found = await self.engine.read(lambda: one("known_messages", tenant=tenant, client_ids=ids))
        return frozenset(client_id for (client_id,) in found)

    async def seals(self) -> dict[str, int]:
        found = await self.engine.read(lambda: one("sealed_values"))
        return dict(Counter(sealed_by(bytes(sealed)) for _, _, _, sealed in found))

    async def reseal(self) -> int:
        """In small transactions, the canary last: a value changed meanwhile is left to the next call."""
        found = await self.engine.read(lambda: one("sealed_values"))
        old = [row for row in found if sealed_by(bytes(row[3])) != self.vault.active]
        old.sort(key=lambda row: row[0] == CANARY)
        resealed = 0
        for first in range(0, len(old), CHUNK):
            steps = tuple(self._resealed(row) for row in old[first : first + CHUNK])
            resealed += await self.engine.write(lambda steps=steps: _all(steps))  # type: ignore[misc]
        return resealed

    def _resealed(self, row: Row) -> Step:
        place, pk, bound_to, sealed = row
        fresh = self.vault.reseal(bytes(sealed), bound_to)
        return Step(f"reseal_{place}", {"pk": pk, "sealed": bytes(sealed), "fresh": fresh})

    async def evidence(self, tenant: TenantPk, client_id: str) -> Evidence | None:
        return await self.engine.read(lambda: self._evidence(tenant, client_id))

    def _evidence(self, tenant: TenantPk, client_id: str) -> Work[Evidence | None]:
        (known,) = yield (Step("message_known", {"tenant": tenant, "client_id": client_id}),)
        if not known:
            return None
        (found,) = yield (the_one(MessageId(known[0][0]), MessageFilter(include_payload=False)),)
        message = rows.message_view(found[0])
        account_pk = known[0][3]
        queued, history, undelivered, leases, windows, suspended, processes, sync, clock = yield (
            Step("queue_row", {"message": message.id, "most": MOST_AHEAD}),
            Step("events", {"tenant": tenant, "client_id": client_id}),
            Step("undelivered_of", {"message": message.id}),
            Step("account_leases", {"account": account_pk}),
            Step("tenant_windows", {"tenant": tenant}),
            Step("suspensions_over", {"tenant": tenant, "batch_code": message.batch_code or ""}),
            Step("processes"),
            Step("sync_standing", {"tenant": tenant}),
            Step("clock"),
        )
        account = yield from self._account(tenant, message.account_id)
        return Evidence(
            now=Instant(clock[0][0]),
            message=message,
            row=_queue_row(queued[0]) if queued else None,
            events=tuple(rows.event_view(row) for row in history),
            undelivered=tuple(Undelivered(*row) for row in undelivered),
            account=account,
            tenant_windows=tuple(one.window for one in rows.windows(windows)),
            suspensions=tuple(Suspension(*row) for row in suspended),
            leases=tuple(Holder(*row) for row in leases),
            processes=tuple(ProcessView(Epoch(row[0]), *row[1:]) for row in processes),
            sync=standing(sync[0]),
        )

    def _account(self, tenant: TenantPk, account_id: str | None) -> Work[AccountView | None]:
        (found,) = yield (
            Step("accounts", {"tenant": tenant, "after": None, "id": account_id or "", "limit": 1}),
        )
        (windows,) = yield (Step("account_windows", {"accounts": [row[0] for row in found]}),)
        return rows.account_view(self.vault, found[0], rows.windows(windows)) if found else None


def _all(steps: tuple[Step, ...]) -> Work[int]:
    done = yield steps
    return sum(map(len, done))


def _queue_row(row: Row) -> QueueRow:
    due_at, expires_at, phase, attempts, crashes, suspect, ahead, is_held_by, *holder = row
    return QueueRow(
        due_at=due_at,
        expires_at=expires_at,
        phase=phase,
        attempts=attempts,
        crashes=crashes,
        is_suspect=bool(suspect),
        ahead=ahead,
        holder=Holder(*holder) if is_held_by else None,
    )
