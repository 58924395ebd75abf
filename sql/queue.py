"""The queue: enqueue, claim, intend, settle, recover. Each method is one unit of work, one commit."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from mailproxy import limits
from mailproxy.audit import Pending
from mailproxy.looks import FROM_START, Bounds, Look
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
from mailproxy.once import KEPT_FOR, Kept, Once, Ticket
from mailproxy.records import (
    Claim,
    Claimed,
    DueAccount,
    DueAccounts,
    Enqueued,
    Finish,
    NewMessage,
    Recovered,
    Release,
    Rest,
    Settled,
    Taken,
)
from mailproxy.vault import Vault
from sql import logins, looks, rows
from sql.engine import Engine, Last, Work, one
from sql.enqueue import enqueue, kept, kept_answer
from sql.gather import Asked, Enqueues, Result
from sql.queries import Row, Step

LONGEST = 128 * 1024
# The windows hold if a dot follows the clock they were read by within SLACK; the commit takes some of that.
FRESH: Seconds = limits.SLACK / 2


@dataclass(frozen=True, slots=True)
class SqlQueue:
    """`fallback`: a global callback URL exists, so events of tenants without one are reported too. `pending` is the
    command whose queue this is."""

    engine: Engine
    fallback: bool
    enqueues: Enqueues
    vault: Vault
    pending: Pending | None = None

    async def enqueue(self, batches: Mapping[TenantPk, Sequence[NewMessage]]) -> list[Enqueued]:
        found = await self._enqueue(Asked(batches, self.pending))
        assert isinstance(found, list), "only a call under a key may have been answered before"
        return found

    async def enqueue_once(
        self, batches: Mapping[TenantPk, Sequence[NewMessage]], once: Once[Sequence[Enqueued]]
    ) -> list[Enqueued] | Kept | None:
        return await self._enqueue(Asked(batches, self.pending, once))

    async def _enqueue(self, asked: Asked) -> Result:
        try:
            return await self.enqueues.add(asked)
        except BaseException:
            if self.pending is not None:
                self.pending.entry = None
            raise

    async def kept_answer(self, ticket: Ticket) -> Kept | None:
        step = kept_answer(ticket)
        return kept(await self.engine.read(lambda: one(step.query, **step.params)))

    async def forget_answers(self, *, limit: int) -> int:
        return len(await self.engine.write(lambda: one("forget_answers", kept_for=KEPT_FOR, limit=limit)))

    async def queued(self, tenant: TenantPk, at_most: int) -> int:
        found = await self.engine.read(lambda: one("queued", tenant=tenant, at_most=at_most))
        return int(found[0][0])

    async def due_accounts(self, node: str, slots: int, newer_than: Seconds = inf) -> DueAccounts:
        params = {"node": node, "slots": slots, "newer_than": newer_than}
        found = await self.engine.read(lambda: one("due_accounts", **params))
        due = tuple(DueAccount(AccountPk(pk), slot) for pk, slot, due_in in found if due_in <= 0)
        later = [due_in for _, _, due_in in found if due_in > 0]
        return DueAccounts(due, min(later, default=None))

    async def take_lease(
        self, account: AccountPk, slot: int, *, epoch: Epoch, ttl: Seconds, succeeds: Sequence[str] = ()
    ) -> Taken | None:
        return await self.engine.write(lambda: _take_lease(account, slot, epoch, ttl, succeeds))

    async def renew_leases(
        self, epoch: Epoch, accounts: Sequence[AccountPk], ttl: Seconds
    ) -> frozenset[tuple[AccountPk, int]]:
        kept = await self.engine.write_soon(
            lambda: one("renew_leases", epoch=epoch, accounts=list(accounts), ttl=ttl)
        )
        return frozenset((AccountPk(pk), slot) for pk, slot in kept)

    async def release_leases(self, epoch: Epoch, account: tuple[AccountPk, int] | None = None) -> None:
        pk, slot = account or (None, None)
        await self.engine.write(lambda: one("release_leases", epoch=epoch, account=pk, slot=slot))

    async def unclaim(self, account: AccountPk, epoch: Epoch, known: Sequence[MessageId]) -> int:
        freed = await self.engine.write(
            lambda: one("unclaim", account=account, epoch=epoch, known=list(known))
        )
        return len(freed)

    async def recover(
        self, account: AccountPk, *, epoch: Epoch, node: str, foreign_grace: Seconds, poison_after: int
    ) -> Recovered:
        return await self.engine.write(
            lambda: _recover(account, epoch, node, foreign_grace, poison_after, self.fallback)
        )

    async def suspect_alone(self, epoch: Epoch, message: MessageId, alone: bool) -> None:
        suspect = 2 if alone else 0
        await self.engine.write(lambda: one("suspect_alone", id=message, epoch=epoch, suspect=suspect))

    async def claim(
        self, account: AccountPk, slot: int, *, epoch: Epoch, limit: int, since: Bounds = FROM_START
    ) -> Claim:
        return await self.engine.write(lambda: _claim(account, slot, epoch, limit, since))

    async def look(self, account: AccountPk) -> Look:
        params = {"account": account, **looks.since(FROM_START)}
        return looks.look(await self.engine.read(lambda: one("next_due", **params)))

    async def payload(self, message: MessageId) -> str | None:
        found = await self.engine.read(lambda: one("payload", id=message))
        return logins.opened(self.vault, message, *found[0]) if found else None

    async def remember_fetched(
        self, epoch: Epoch, message: Claimed, hashes: Sequence[str | None]
    ) -> Sequence[str | None] | None:
        told = json.dumps(list(hashes))
        found = await self.engine.write(
            lambda: one("remember_fetched", id=message.id, epoch=epoch, claim=message.claim, fetched=told)
        )
        return rows.hashes(found[0][0]) if found else None

    async def intend(
        self, epoch: Epoch, messages: Sequence[MessageId], *, limited: bool = False
    ) -> frozenset[MessageId]:
        begun = time.monotonic()
        granted = await self.engine.write(lambda: _intend(epoch, list(messages), limited))
        late = limited and time.monotonic() - begun > FRESH
        return frozenset() if late else granted

    async def settle(
        self, epoch: Epoch, finishes: Sequence[Finish], releases: Sequence[Release] = ()
    ) -> Settled:
        settled = await self.engine.write(lambda: _settle(epoch, finishes, releases, self.fallback))
        missed = [f for f in finishes if f.status is Status.SENT and f.id not in settled]
        if not missed:
            return Settled(settled)
        # A commit of its own: whoever dies in between has all of it in the journal.
        params = {"ids": [f.id for f in missed], "fallback": self.fallback}
        step = Step("late_evidence", params, [rows.late(f) for f in missed])
        (late,) = await self.engine.write(lambda: _alone(step))
        return Settled(settled, frozenset(MessageId(id_) for (id_,) in late))

    async def back_off(
        self, account: AccountPk, *, condition: AccountCondition, reason: str, cause: str, delay: Seconds
    ) -> Rest:
        values = {"account": account, "reason": reason, "cause": cause, "delay": delay}
        return await self.engine.write(lambda: _back_off(values, str(condition)))

    async def account_works(self, account: AccountPk) -> bool:
        return bool(await self.engine.write(lambda: one("account_works", account=account)))


def _back_off(values: Mapping[str, object], condition: str) -> Work[Rest]:
    (before,) = yield (Step("account_condition", {"account": values["account"]}),)
    (found,) = yield (Step("back_off", {**values, "condition": condition}),)
    is_new = before != [(condition, values["reason"])]
    return Rest(found[0][0], is_new) if found else Rest(0, is_new=False)


def enqueues(engine: Engine, fallback: bool, vault: Vault) -> Enqueues:
    return Enqueues(
        lambda calls: engine.write(lambda: enqueue(calls, fallback, vault, is_remote=engine.is_remote))
    )


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
    (_, freed, doubtful, left, _) = yield (
        Step("ended_leases", whose),
        Step("recover_claimed", whose | {"poison_after": poison_after}),
        Step("recover_authorised", whose | {"node": node, "grace": grace}),
        Step("recover_left", whose),
        Step("forget_leases", whose),
    )
    poisoned = [row for row in freed if row[4] >= poison_after]
    if poisoned:
        error = "The sender died each time it prepared this message (crashed_sender)"
        failed = [
            Finish(
                MessageId(id_),
                revision,
                attempts,
                claim,
                Status.ERROR,
                EventType.ERROR,
                EventDetail(error=error),
            )
            for id_, revision, attempts, claim, _ in poisoned
        ]
        yield from _settle(epoch, failed, (), fallback)
    return Recovered(
        freed=len(freed) - len(poisoned),
        poisoned=tuple(MessageId(row[0]) for row in poisoned),
        in_doubt=tuple(rows.in_doubt(row) for row in doubtful),
        left=left[0][0],
    )


def _claim(account: AccountPk, slot: int, epoch: Epoch, limit: int, since: Bounds) -> Work[Claim]:
    whose = {"account": account, "slot": slot, "epoch": epoch}
    accounts = {"accounts": [account]}
    (locked, limit_rows, used_rows) = yield (
        Step("claim_lock", whose),
        Step("limits_lock", accounts),
        Step("limits_used", accounts),
    )
    if not locked:
        return Claim(lease_lost=True)
    within = whose | looks.since(since)
    claim = yield from _claim_within(within, locked[0], limit_rows, used_rows, limit)
    return replace(claim, bereft=bool(locked[0][-1]))


def _claim_within(
    whose: Mapping[str, object], account: Row, limit_rows: list[Row], used_rows: list[Row], limit: int
) -> Work[Claim]:
    """The claim of a lease in force: what the account's condition and its rate limits leave of `limit`."""
    version, behavior, condition, rest, fails, suspended, _ = account
    if suspended or condition == AccountCondition.BREAKER_OPEN:
        return Claim(account_version=version, fails=fails)
    if rest is not None and rest > 0:
        return Claim(account_version=version, wait=rest, fails=fails)
    known = rows.limits(limit_rows)
    used, at = rows.used(used_rows)
    budget = limits.budget(known, used, at, limit) if known else limits.Budget(limit)
    above_limit = bool(known) and not budget.tokens
    if above_limit and behavior == "defer":
        return (yield from _rest(whose, version, budget))
    is_charged = bool(known) and not above_limit
    size = limit if above_limit else budget.tokens
    wanted = {**whose, "limit": size, "at": at if is_charged else None, "longest": LONGEST}
    steps = (Step("claim", wanted), Step("next_due", whose))
    (found, left) = yield steps if is_charged else Last(steps)
    look = looks.look(left)
    if not found:
        return Claim(account_version=version, wait=look.wait, limited=bool(known), look=look)
    if is_charged:
        yield Last((_charge(limits.charges(known, at, len(found))),))
    messages = sorted((rows.claimed(row) for row in found), key=lambda m: (m.priority, -m.waited, m.id))
    return Claim(
        tuple(messages), version, limited=bool(known), above_limit=above_limit, fails=fails, look=look
    )


def _rest(whose: Mapping[str, object], version: int, budget: limits.Budget) -> Work[Claim]:
    (left,) = yield (Step("next_due", whose),)
    look = looks.look(left)
    if look.wait is None or look.wait > (budget.wait or 0):
        return Claim(account_version=version, wait=look.wait, limited=True, look=look)
    yield (Step("rest_until_token", {**whose, "wait": budget.wait}),)
    return Claim(account_version=version, wait=budget.wait, limited=True, rests=True, look=look)


def _charge(charges: Iterable[limits.Charge]) -> Step:
    values = [
        {"kind": c.scope.kind, "scope": c.scope.pk, "win": c.scope.window, "slot": c.slot, "n": c.n}
        for c in charges
    ]
    return Step("limits_charge", rows=values)


def _intend(epoch: Epoch, ids: list[MessageId], limited: bool) -> Work[frozenset[MessageId]]:
    wanted: Mapping[str, object] = {"epoch": epoch, "ids": ids, "at": None}
    if not limited:
        (_, granted) = yield Last((Step("suspension_shared"), Step("intend", wanted)))
        return frozenset(MessageId(id_) for (id_,) in granted)
    (_, candidates) = yield (Step("suspension_shared"), Step("intend_candidates", wanted))
    accounts = {"accounts": sorted({account for _, account, _, _ in candidates})}
    (limit_rows, used_rows) = yield (Step("limits_lock", accounts), Step("limits_used", accounts))
    known = rows.limits(limit_rows)
    used, at = rows.used(used_rows)
    allowed = limits.recharge((_turned(row, known) for row in candidates), used, at)
    (granted,) = yield (Step("intend", {"epoch": epoch, "ids": list(allowed), "at": at}),)
    if moved := limits.total(charge for (id_,) in granted for charge in allowed[id_]):
        yield Last((_charge(moved),))
    return frozenset(MessageId(id_) for (id_,) in granted)


def _turned(candidate: Row, known: Sequence[limits.Limit]) -> limits.Turned:
    id_, account, tenant, charged_at = candidate
    mine = {(limits.TENANT, tenant), (limits.ACCOUNT, account)}
    return limits.Turned(id_, charged_at, tuple(x for x in known if (x.scope.kind, x.scope.pk) in mine))


def _settle(
    epoch: Epoch, finishes: Sequence[Finish], releases: Sequence[Release], fallback: bool
) -> Work[frozenset[MessageId]]:
    """Those that were still ours, of the finishes and releases of one flush."""
    steps = tuple(_settle_steps(epoch, finishes, releases, fallback))
    answers = (yield Last(steps)) if steps else []
    return frozenset(
        MessageId(row[0])
        for step, found in zip(steps, answers, strict=True)
        if step.query in {"finish", "release"}
        for row in found
    )


def _alone(*steps: Step) -> Work[list[list[Row]]]:
    return (yield Last(steps))


def _settle_steps(
    epoch: Epoch, finishes: Sequence[Finish], releases: Sequence[Release], fallback: bool
) -> Iterator[Step]:
    mine = {"epoch": epoch, "fallback": fallback}
    if releases:
        yield Step("suspension_shared")
    both: list[Finish | Release] = [*finishes, *releases]
    if unsent := [one for one in both if not _may_have_been_sent(one)]:
        ids = [one.id for one in unsent]
        yield Step("limits_refund", mine | {"ids": ids}, [rows.claim_of(one) for one in unsent])
    if exceptions := rows.recipient_states(both):
        yield Step("recipients_settled", mine, exceptions)
    if finishes:
        yield Step("finish", mine | {"ids": [f.id for f in finishes]}, [rows.finish(f) for f in finishes])
    if releases:
        yield Step("release", mine | {"ids": [r.id for r in releases]}, [rows.release(r) for r in releases])


def _may_have_been_sent(one: Finish | Release) -> bool:
    if isinstance(one, Finish):
        return one.status in {Status.SENT, Status.UNKNOWN}
    return not one.refund and (
        one.event is not EventType.DEFERRED or any(recipient.accepted for recipient in one.recipients)
    )
