"""The queue: enqueue, claim, intend, settle, recover. Each method is one unit of work, one commit."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mailproxy import limits
from mailproxy.model import (
    AccountCondition,
    AccountPk,
    Epoch,
    EventDetail,
    EventType,
    MessageId,
    Seconds,
    Status,
    TenantPk,
)
from mailproxy.records import (
    Claim,
    DueAccount,
    DueAccounts,
    Enqueued,
    Finish,
    NewMessage,
    Recovered,
    Release,
    Settled,
    Taken,
)
from sql import rows
from sql.engine import Engine, Work, one
from sql.queries import Row, Step

REPLACEABLE = {Status.QUEUED, Status.ERROR, Status.CANCELLED, Status.EXPIRED}


def dumps(values: Iterable[Mapping[str, object]]) -> str:
    return json.dumps(list(values), ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class SqlQueue:
    """`fallback`: a global callback URL exists, so events of tenants without one are reported too."""

    engine: Engine
    fallback: bool = False

    async def enqueue(self, tenant: TenantPk, items: Sequence[NewMessage]) -> list[Enqueued]:
        return await self.engine.write(lambda: _enqueue(tenant, items, self.fallback))

    async def queued(self, tenant: TenantPk, at_most: int) -> int:
        found = await self.engine.read(lambda: one("queued", tenant=tenant, at_most=at_most))
        return int(found[0][0])

    async def due_accounts(self, node: str, slots: int) -> DueAccounts:
        found = await self.engine.read(lambda: one("due_accounts", node=node, slots=slots))
        due = tuple(DueAccount(AccountPk(pk), slot) for pk, slot, due_in in found if due_in <= 0)
        later = [due_in for _, _, due_in in found if due_in > 0]
        return DueAccounts(due, min(later, default=None))

    async def take_lease(
        self, account: AccountPk, slot: int, *, epoch: Epoch, ttl: Seconds, succeeds: Sequence[str] = ()
    ) -> Taken | None:
        return await self.engine.write(lambda: _take_lease(account, slot, epoch, ttl, succeeds))

    async def renew_leases(self, epoch: Epoch, ttl: Seconds) -> frozenset[tuple[AccountPk, int]]:
        kept = await self.engine.write_soon(lambda: one("renew_leases", epoch=epoch, ttl=ttl))
        return frozenset((AccountPk(pk), slot) for pk, slot in kept)

    async def release_leases(self, epoch: Epoch, accounts: Sequence[AccountPk] | None = None) -> None:
        wanted = None if accounts is None else list(accounts)
        await self.engine.write(lambda: one("release_leases", epoch=epoch, accounts=wanted))

    async def recover(
        self, account: AccountPk, *, epoch: Epoch, node: str, foreign_grace: Seconds, poison_after: int
    ) -> Recovered:
        return await self.engine.write(
            lambda: _recover(account, epoch, node, foreign_grace, poison_after, self.fallback)
        )

    async def suspect_alone(self, epoch: Epoch, message: MessageId) -> None:
        await self.engine.write(lambda: one("suspect_alone", id=message, epoch=epoch))

    async def claim(self, account: AccountPk, slot: int, *, epoch: Epoch, limit: int) -> Claim:
        return await self.engine.write(lambda: _claim(account, slot, epoch, limit))

    async def intend(
        self, epoch: Epoch, messages: Sequence[MessageId], *, limited: bool = False
    ) -> frozenset[MessageId]:
        return await self.engine.write(lambda: _intend(epoch, list(messages), limited))

    async def settle(
        self, epoch: Epoch, finishes: Sequence[Finish], releases: Sequence[Release] = ()
    ) -> Settled:
        return await self.engine.write(lambda: _settle(epoch, finishes, releases, self.fallback))

    async def back_off(
        self, account: AccountPk, *, condition: AccountCondition, reason: str, cause: str, delay: Seconds
    ) -> int:
        found = await self.engine.write(
            lambda: one(
                "back_off", account=account, condition=str(condition), reason=reason, cause=cause, delay=delay
            )
        )
        return int(found[0][0]) if found else 0

    async def account_works(self, account: AccountPk) -> None:
        await self.engine.write(lambda: one("account_works", account=account))


def _enqueue(tenant: TenantPk, items: Sequence[NewMessage], fallback: bool) -> Work[list[Enqueued]]:
    (former,) = yield (Step("enqueue_former"),)
    params = {
        "tenant": tenant,
        "rows": dumps(rows.new_message(item) for item in items),
        "fallback": fallback,
        "former": former[0][0],
    }
    (inserted,) = yield (Step("enqueue", params),)
    new = {client_id: MessageId(id_) for id_, client_id in inserted}
    existing = [item for item in items if item.client_id not in new]
    answers = {client_id: Enqueued(client_id, id_) for client_id, id_ in new.items()}
    if existing:
        answers |= yield from _enqueue_existing(tenant, existing)
    return [answers[item.client_id] for item in items]


def _enqueue_existing(tenant: TenantPk, items: Sequence[NewMessage]) -> Work[dict[str, Enqueued]]:
    wanted = {"tenant": tenant, "client_ids": [item.client_id for item in items]}
    (_, found) = yield (Step("enqueue_existing_rows", wanted), Step("enqueue_existing", wanted))
    known = {client_id: (MessageId(id_), Status(status), phase) for id_, client_id, status, phase in found}
    answers = {}
    replaced = []
    for item in items:
        id_, status, phase = known[item.client_id]
        refused = _why_not_replaced(item, status, phase)
        answers[item.client_id] = Enqueued(item.client_id, id_, refused, replaced=refused is None)
        if refused is None:
            replaced.append(rows.new_message(item) | {"id": id_})
    if replaced:
        yield (Step("enqueue_replace", {"tenant": tenant, "rows": dumps(replaced)}),)
    return answers


def _why_not_replaced(item: NewMessage, status: Status, phase: int | None) -> str | None:
    if item.rejected is not None:
        return "exists"
    if status is Status.SENT:
        return "already_sent"
    if status is Status.UNKNOWN:
        return "outcome_unknown"
    if phase:
        return "being_sent"
    return None if status in REPLACEABLE else "exists"


def _take_lease(
    account: AccountPk, slot: int, epoch: Epoch, ttl: Seconds, succeeds: Sequence[str]
) -> Work[Taken | None]:
    former = Step("lease_former", {"account": account, "slot": slot})
    take = Step(
        "take_lease",
        {"account": account, "slot": slot, "epoch": epoch, "ttl": ttl, "succeeds": list(succeeds)},
    )
    (before, taken) = yield (former, take)
    return Taken(unclean=bool(before)) if taken else None


def _recover(
    account: AccountPk, epoch: Epoch, node: str, grace: Seconds, poison_after: int, fallback: bool
) -> Work[Recovered]:
    whose = {"account": account, "epoch": epoch}
    (freed, doubtful, left) = yield (
        Step("recover_claimed", whose | {"poison_after": poison_after}),
        Step("recover_authorised", whose | {"node": node, "grace": grace}),
        Step("recover_left", whose),
    )
    poisoned = [row for row in freed if row[3] >= poison_after]
    if poisoned:
        error = "The sender died each time it prepared this message (crashed_sender)"
        failed = [
            Finish(
                MessageId(id_), revision, attempts, Status.ERROR, EventType.ERROR, EventDetail(error=error)
            )
            for id_, revision, attempts, _ in poisoned
        ]
        yield from _settle(epoch, failed, (), fallback)
    return Recovered(
        freed=len(freed) - len(poisoned),
        poisoned=tuple(MessageId(row[0]) for row in poisoned),
        in_doubt=tuple(rows.in_doubt(row) for row in doubtful),
        left=left[0][0],
    )


def _claim(account: AccountPk, slot: int, epoch: Epoch, limit: int) -> Work[Claim]:
    whose = {"account": account, "slot": slot, "epoch": epoch}
    (locked, limit_rows) = yield (
        Step("claim_lock", whose),
        Step("limits_lock", {"accounts": [account]}),
    )
    if not locked:
        return Claim(lease_lost=True)
    version, _tenant, condition, rest, suspended = locked[0]
    if suspended or condition == AccountCondition.BREAKER_OPEN:
        return Claim(account_version=version)
    if rest is not None and rest > 0:
        return Claim(account_version=version, wait=rest)
    known = rows.limits(limit_rows)
    if known:
        (used_rows,) = yield (Step("limits_used", {"accounts": [account]}),)
        used, at = rows.used(used_rows)
        budget = limits.budget(known, used, at, limit)
        if not budget.tokens:
            return (yield from _rest(account, version, budget))
        limit = budget.tokens
    (found,) = yield (Step("claim", whose | {"limit": limit}),)
    if not found:
        ((due,),) = yield (Step("next_due", {"account": account}),)
        return Claim(account_version=version, wait=due[0])
    if known:
        yield (_charge(limits.charges(known, at, len(found))),)
    messages = sorted((rows.claimed(row) for row in found), key=lambda m: (m.priority, -m.waited, m.id))
    return Claim(tuple(messages), version, limited=bool(known))


def _rest(account: AccountPk, version: int, budget: limits.Budget) -> Work[Claim]:
    ((due,),) = yield (Step("next_due", {"account": account}),)
    if due[0] is None or due[0] > (budget.wait or 0):
        return Claim(account_version=version, wait=due[0], limited=True)
    yield (Step("rest_until_token", {"account": account, "wait": budget.wait}),)
    return Claim(account_version=version, wait=budget.wait, limited=True, rests=True)


def _charge(charges: Iterable[limits.Charge]) -> Step:
    values = [
        {"kind": c.scope.kind, "scope": c.scope.pk, "win": c.scope.window, "slot": c.slot, "n": c.n}
        for c in charges
    ]
    return Step("limits_charge", {"rows": dumps(values)})


def _intend(epoch: Epoch, ids: list[MessageId], limited: bool) -> Work[frozenset[MessageId]]:
    wanted = {"epoch": epoch, "ids": ids}
    if not limited:
        (_, granted) = yield (Step("intend_gate"), Step("intend", wanted))
        return frozenset(MessageId(id_) for (id_,) in granted)
    (_, candidates) = yield (Step("intend_gate"), Step("intend_candidates", wanted))
    accounts = {"accounts": sorted({account for _, account, _, _ in candidates})}
    (limit_rows,) = yield (Step("limits_lock", accounts),)
    (used_rows,) = yield (Step("limits_used", accounts),)
    known = rows.limits(limit_rows)
    used, at = rows.used(used_rows)
    allowed, extra = limits.recharge((_turned(row, known) for row in candidates), used, at)
    (granted,) = yield (Step("intend", {"epoch": epoch, "ids": allowed}),)
    if extra:
        yield (_charge(extra),)
    return frozenset(MessageId(id_) for (id_,) in granted)


def _turned(candidate: Row, known: Sequence[limits.Limit]) -> limits.Turned:
    id_, account, tenant, claimed_at = candidate
    mine = {(limits.TENANT, tenant), (limits.ACCOUNT, account)}
    return limits.Turned(id_, claimed_at, tuple(x for x in known if (x.scope.kind, x.scope.pk) in mine))


def _settle(
    epoch: Epoch, finishes: Sequence[Finish], releases: Sequence[Release], fallback: bool
) -> Work[Settled]:
    """Finishes and releases of one flush; a 2xx for a row no longer ours is late evidence."""
    steps = []
    exceptions = rows.recipient_states([*finishes, *releases])
    if exceptions:
        steps.append(Step("recipients_settled", {"epoch": epoch, "rows": dumps(exceptions)}))
    done = {"epoch": epoch, "fallback": fallback}
    steps.append(Step("finish", done | {"rows": dumps(map(rows.finish, finishes))}))
    steps.append(Step("release", done | {"rows": dumps(map(rows.release, releases))}))
    *_, finished, released = yield tuple(steps)
    settled = frozenset(MessageId(id_) for (id_,) in [*finished, *released])
    missed = [f for f in finishes if f.status is Status.SENT and f.id not in settled]
    if not missed:
        return Settled(settled)
    evidence = dumps(map(rows.late, missed))
    (late,) = yield (Step("late_evidence", {"rows": evidence, "fallback": fallback}),)
    return Settled(settled, frozenset(MessageId(id_) for (id_,) in late))
