"""Submitting: drafts whose faults are known are completed, held to quotas, and queued in one transaction."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mailproxy import address, log, payload, suppressions
from mailproxy.certified import Certified, Door
from mailproxy.checks import Fault
from mailproxy.config import Settings
from mailproxy.intake import Intake
from mailproxy.model import Instant, MessageId, Priority, Seconds, TenantPk
from mailproxy.once import Kept, Once
from mailproxy.pec import rules
from mailproxy.records import Enqueued, NewMessage, RecipientOutcome
from mailproxy.store import Store, Suppressions
from mailproxy.store_contents import Contents
from mailproxy.suppressions import Cause

_TURN = 50

_REASONS = {
    "already_sent": "already sent",
    "being_sent": "being sent",
    "outcome_unknown": "outcome unknown",
    "missing_id": "missing id",
    "missing_tenant_id": "missing tenant_id",
    "missing_account_id": "missing account_id",
    "missing_from": "missing from",
    "missing_to": "missing to",
    "missing_subject": "missing subject",
    "account_not_found": "account not found for tenant",
}


@dataclass(frozen=True, slots=True)
class Draft:
    """One message as decoded; sendable when it has no faults. `recipients` are all, in the order of the envelope
    and as written; it is not to be offered for those that are `suppressed`. `contents`: what it refers to, by SHA-256.
    """

    client_id: str
    tenant_id: str | None
    account_id: str | None
    priority: Priority
    batch_code: str | None
    due_at: Instant | None
    expires_at: Instant | None
    max_age: Seconds | None
    payload: str = field(repr=False)
    faults: tuple[Fault, ...] = ()
    recipients: tuple[str, ...] = field(default=(), repr=False)
    ignore_suppressions: bool = False
    suppressed: tuple[RecipientOutcome, ...] = ()
    header_id: str | None = None
    contents: Mapping[str, Sequence[bytes]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Accepted:
    """`suppressed` are recipients that will not get it."""

    client_id: str
    message_id: MessageId
    suppressed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """`faults` has at least one; the first one's code is that of the rejection."""

    client_id: str
    faults: tuple[Fault, ...]

    @property
    def code(self) -> str:
        return self.faults[0].code

    @property
    def reason(self) -> str:
        return _reason(self.faults)


@dataclass(frozen=True, slots=True)
class Submitted:
    """What a submission came to, in its order."""

    accepted: tuple[Accepted, ...] = ()
    rejected: tuple[Rejected, ...] = ()


async def submit(
    store: Store, intake: Intake, settings: Settings, drafts: Mapping[TenantPk, Sequence[Draft]]
) -> Submitted:
    """Queue what is right of every tenant's drafts and record what is not, all of it or nothing.

    Ids are unique within a tenant's drafts. Raises QuotaExceeded and StorageUnavailable.
    """
    ready = await _ready(store, intake, settings, drafts)
    results = await store.queue.enqueue(ready.batches) if ready.batches else []
    return await _announced(store, intake, settings, ready, results)


async def submit_once(
    store: Store,
    intake: Intake,
    settings: Settings,
    drafts: Mapping[TenantPk, Sequence[Draft]],
    once: Once[Submitted],
) -> Submitted | Kept | None:
    """`submit` under a key, with its answer kept; Kept and None as `Queue.enqueue_once` has them."""
    ready = await _ready(store, intake, settings, drafts)
    results = await store.queue.enqueue_once(
        ready.batches, Once(once.ticket, lambda results: once.answer(_submitted(ready.ends(results))))
    )
    if results is None or isinstance(results, Kept):
        return results
    return await _announced(store, intake, settings, ready, results)


@dataclass(frozen=True, slots=True)
class _Ready:
    """Drafts that were held against the tenants' accounts, and what of them is to be stored."""

    checked: Mapping[TenantPk, Sequence[Draft]]
    batches: Mapping[TenantPk, Sequence[NewMessage]]

    def ends(self, results: Sequence[Enqueued]) -> dict[TenantPk, list[Accepted | Rejected]]:
        rest = iter(results)
        return {
            tenant: [_end(draft, next(rest) if _is_recordable(draft) else None) for draft in ours]
            for tenant, ours in self.checked.items()
        }


def _submitted(ends: Mapping[TenantPk, Sequence[Accepted | Rejected]]) -> Submitted:
    found = [end for ours in ends.values() for end in ours]
    return Submitted(
        tuple(end for end in found if isinstance(end, Accepted)),
        tuple(end for end in found if isinstance(end, Rejected)),
    )


async def _ready(
    store: Store, intake: Intake, settings: Settings, drafts: Mapping[TenantPk, Sequence[Draft]]
) -> _Ready:
    checked: dict[TenantPk, list[Draft]] = {}
    batches: dict[TenantPk, list[NewMessage]] = {}
    for tenant, ours in drafts.items():
        await intake.admit(tenant, sum(not draft.faults for draft in ours))
        standing = await store.directory.admission(tenant)
        doors = standing.accounts
        checked[tenant] = await _at_their_doors(ours, doors)
        if standing.suppresses:
            checked[tenant] = await _without_suppressed(store.suppressions, tenant, checked[tenant], doors)
        await _keep_contents(store.contents, tenant, checked[tenant])
        items = [_new_message(draft, doors, settings) for draft in checked[tenant] if _is_recordable(draft)]
        if items:
            batches[tenant] = items
    return _Ready(checked, batches)


async def _keep_contents(kept: Contents, tenant: TenantPk, drafts: Sequence[Draft]) -> None:
    """Before the messages, so that no transaction is long; what no message comes to have is forgotten."""
    wanted = {
        sha256: pieces for draft in drafts if not draft.faults for sha256, pieces in draft.contents.items()
    }
    for sha256, pieces in wanted.items():
        await kept.keep(tenant, sha256, pieces)


async def _announced(
    store: Store, intake: Intake, settings: Settings, ready: _Ready, results: Sequence[Enqueued]
) -> Submitted:
    found = ready.ends(results)
    for tenant, ends in found.items():
        intake.accepted(tenant, sum(isinstance(end, Accepted) for end in ends))
        for draft, end in zip(ready.checked[tenant], ends, strict=True):
            if isinstance(end, Accepted):
                of = log.Of(end.message_id, draft.client_id, draft.tenant_id or "", draft.account_id)
                log.queued(of, priority=draft.priority)
    done = _submitted(found)
    if done.accepted and settings.dispatch_on_arrival and not settings.test_mode:
        await store.wakeups.announce("queue")
    return done


async def _at_their_doors(drafts: Sequence[Draft], doors: Mapping[str, Door]) -> list[Draft]:
    judged = []
    for number, draft in enumerate(drafts):
        if number % _TURN == _TURN - 1:
            await asyncio.sleep(0)
        judged.append(_at_its_door(draft, doors))
    return judged


def _at_its_door(draft: Draft, doors: Mapping[str, Door]) -> Draft:
    """The draft with the faults that only its account shows."""
    door = doors.get(draft.account_id or "")
    if door is not None:
        if not door.is_pec or draft.faults:
            return draft
        return replace(draft, faults=tuple(rules.faults(payload.decode(draft.payload), door.pec_address)))
    code = "account_not_found" if draft.account_id else "missing_account_id"
    return replace(draft, faults=(*draft.faults, Fault("account_id", code, "")))


async def _without_suppressed(
    listed: Suppressions, tenant: TenantPk, drafts: Sequence[Draft], doors: Mapping[str, Door]
) -> list[Draft]:
    """Held against the tenant's list by one query; a message that is left with no recipient is at fault."""
    envelopes: dict[int, tuple[str, ...]] = {}
    for number, draft in enumerate(drafts):
        if number % _TURN == _TURN - 1:
            await asyncio.sleep(0)
        if not draft.faults and not draft.ignore_suppressions:
            envelopes[number] = address.envelope_recipients(draft.recipients)
    keys = (suppressions.key_of(one) for envelope in envelopes.values() for one in envelope)
    if not (found := await listed.among(tenant, keys)):
        return list(drafts)
    return [
        _judged(draft, envelopes[number], found, doors) if number in envelopes else draft
        for number, draft in enumerate(drafts)
    ]


def _judged(
    draft: Draft, envelope: Sequence[str], listed: Mapping[str, Cause], doors: Mapping[str, Door]
) -> Draft:
    refused = suppressions.refused(envelope, listed)
    if refused and len(refused) == len(envelope):
        return replace(draft, faults=(suppressions.fault(refused),))
    if refused and doors[draft.account_id or ""].is_pec:
        return replace(draft, faults=(suppressions.fault(refused, rules.ALL_OR_NONE),))
    return replace(draft, suppressed=refused)


def _is_recordable(draft: Draft) -> bool:
    return not any(fault.field == "id" for fault in draft.faults)


def _new_message(draft: Draft, doors: Mapping[str, Door], settings: Settings) -> NewMessage:
    door = doors.get(draft.account_id or "")
    is_certified = door is not None and door.is_pec and not draft.faults
    max_age = draft.max_age
    if max_age is None and draft.expires_at is None:
        most = settings.message_max_age
        max_age = min(most, rules.LONGEST) if is_certified else most
    return NewMessage(
        client_id=draft.client_id,
        account_pk=door.pk if door is not None else None,
        priority=draft.priority,
        payload=draft.payload,
        batch_code=draft.batch_code,
        due_at=draft.due_at,
        max_age=max_age,
        expires_at=draft.expires_at,
        rejected=_reason(draft.faults) if draft.faults else None,
        header_id=draft.header_id,
        suppressed=draft.suppressed,
        certified=_certified(draft, settings) if is_certified else None,
        contents=() if draft.faults else tuple(draft.contents),
    )


def _certified(draft: Draft, settings: Settings) -> Certified:
    everybody = address.envelope_recipients(draft.recipients)
    return Certified(tuple(map(rules.folded, everybody)), settings.pec_acceptance_timeout)


def _end(draft: Draft, result: Enqueued | None) -> Accepted | Rejected:
    if draft.faults:
        return Rejected(draft.client_id, draft.faults)
    assert result is not None, "only drafts with faults are not enqueued"
    if result.refused is not None or result.message_id is None:
        return Rejected(draft.client_id, (Fault("id", result.refused or "not_queued", ""),))
    return Accepted(draft.client_id, result.message_id, tuple(one.address for one in draft.suppressed))


def _reason(faults: Sequence[Fault]) -> str:
    return "; ".join(
        _REASONS.get(fault.code) or f"{fault.field}: {fault.detail}".removesuffix(": ") for fault in faults
    )
