"""add-messages: every fault of a call is found first, then what is right is queued in one transaction."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mailproxy import log
from mailproxy.api import wire_messages
from mailproxy.api.answers import Answer
from mailproxy.api.refusals import Refusal, foreign_tenant
from mailproxy.api.routing import Call
from mailproxy.api.wire_messages import Draft
from mailproxy.mime import Fault
from mailproxy.model import AccountPk, TenantPk, public_pk
from mailproxy.records import Enqueued, NewMessage

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


@dataclass(slots=True)
class Outcome:
    """What one call came to: the answer is made from this."""

    accepted: list[dict[str, str]]
    rejected: list[dict[str, str | None]]


async def add_messages(call: Call) -> Answer:
    wanted = wire_messages.decode(await call.json())
    most = call.services.settings.max_batch
    if len(wanted.messages) > most:
        text = f"Cannot enqueue more than {most} messages at once"
        raise Refusal(400, {"error": text, "rejected": []}, "batch_too_large")
    drafts = await _drafts(call, wanted)
    outcome = Outcome([], [])
    for tenant, ours in await _by_tenant(call, drafts, outcome):
        await _submit(call, tenant, ours, outcome)
    if outcome.accepted and call.services.settings.dispatch_on_arrival:
        await call.store.wakeups.announce("queue")
    call.warnings += wanted.warnings
    return _answer(outcome)


def _answer(outcome: Outcome) -> Answer:
    if not outcome.accepted and any(one["code"] != "already_sent" for one in outcome.rejected):
        detail = {"error": "All messages were rejected", "rejected": outcome.rejected}
        raise Refusal(400, detail, "all_rejected")
    return {
        "ok": True,
        "queued": len(outcome.accepted),
        "rejected": outcome.rejected,
        "accepted": outcome.accepted,
    }


async def _drafts(call: Call, wanted: wire_messages.Call) -> list[Draft]:
    """All messages drafted, each with its tenant; of those with one id the last one counts."""
    default = wanted.default_priority
    if default is None:
        default = call.services.settings.default_priority
    owners: dict[str, str | None] = {}
    drafts: dict[Any, Draft] = {}
    for number, fields in enumerate(wanted.messages):
        if number % _TURN == _TURN - 1:
            await asyncio.sleep(0)
        draft = wire_messages.draft(fields, default)
        tenant_id = await _tenant_of(call, draft, owners)
        if tenant_id != draft.tenant_id:
            draft = replace(draft, tenant_id=tenant_id)
        key: Any = (tenant_id, draft.client_id) if draft.client_id else number
        drafts.pop(key, None)
        drafts[key] = draft
    return list(drafts.values())


async def _tenant_of(call: Call, draft: Draft, owners: dict[str, str | None]) -> str | None:
    """The tenant of a message: of the key, as named, or the only one that has its account."""
    principal = call.caller.principal
    if principal is not None:
        if draft.tenant_id not in (None, principal.tenant_id):
            raise foreign_tenant()
        return principal.tenant_id
    if draft.tenant_id or not draft.account_id:
        return draft.tenant_id
    if draft.account_id not in owners:
        found = await call.store.directory.tenants_of_account(draft.account_id)
        owners[draft.account_id] = found[0] if len(found) == 1 else None
    return owners[draft.account_id]


async def _by_tenant(
    call: Call, drafts: Sequence[Draft], outcome: Outcome
) -> list[tuple[TenantPk, list[Draft]]]:
    """The drafts of each tenant, for which there is room; those of no known tenant are rejected."""
    groups: dict[str, list[Draft]] = {}
    for draft in drafts:
        groups.setdefault(draft.tenant_id or "", []).append(draft)
    found = []
    for tenant_id, ours in groups.items():
        tenant = await call.tenant(tenant_id) if tenant_id else None
        if tenant is None:
            code = "account_not_found" if tenant_id else "missing_tenant_id"
            outcome.rejected += [_rejection(draft, [*draft.faults, Fault("", code, "")]) for draft in ours]
            continue
        await call.services.intake.admit(tenant, sum(not draft.faults for draft in ours))
        found.append((tenant, ours))
    return found


async def _submit(call: Call, tenant: TenantPk, drafts: Sequence[Draft], outcome: Outcome) -> None:
    accounts = await call.store.directory.account_ids(tenant)
    checked = [_with_account(draft, accounts) for draft in drafts]
    items = [_new_message(call, draft, accounts) for draft in checked if _is_recordable(draft)]
    results = await call.store.queue.enqueue(tenant, items) if items else []
    await _report(call, tenant, checked, results, outcome)


def _with_account(draft: Draft, accounts: Mapping[str, AccountPk]) -> Draft:
    if draft.account_id in accounts:
        return draft
    code = "account_not_found" if draft.account_id else "missing_account_id"
    return replace(draft, faults=(*draft.faults, Fault("account_id", code, "")))


def _is_recordable(draft: Draft) -> bool:
    return not any(fault.field == "id" for fault in draft.faults)


def _new_message(call: Call, draft: Draft, accounts: Mapping[str, AccountPk]) -> NewMessage:
    max_age = draft.max_age
    if max_age is None and draft.expires_at is None:
        max_age = call.services.settings.message_max_age
    return NewMessage(
        client_id=draft.client_id,
        account_pk=accounts.get(draft.account_id or ""),
        priority=draft.priority,
        payload=draft.payload,
        batch_code=draft.batch_code,
        due_at=draft.due_at,
        max_age=max_age,
        expires_at=draft.expires_at,
        rejected=_reason(draft.faults) if draft.faults else None,
    )


async def _report(
    call: Call, tenant: TenantPk, drafts: Sequence[Draft], results: Sequence[Enqueued], outcome: Outcome
) -> None:
    instance = await call.services.instance.bits()
    enqueued = {result.client_id: result for result in results}
    queued = 0
    for draft in drafts:
        if draft.faults:
            outcome.rejected.append(_rejection(draft, draft.faults))
            continue
        result = enqueued[draft.client_id]
        if result.refused is not None or result.message_id is None:
            outcome.rejected.append(_rejection(draft, [Fault("id", result.refused or "not_queued", "")]))
        else:
            queued += 1
            outcome.accepted.append({"id": draft.client_id, "pk": public_pk(instance, result.message_id)})
            of = log.Of(result.message_id, draft.client_id, draft.tenant_id or "", draft.account_id)
            log.queued(of, priority=draft.priority)
    call.services.intake.accepted(tenant, queued)


def _rejection(draft: Draft, faults: Sequence[Fault]) -> dict[str, str | None]:
    return {"id": draft.client_id or None, "reason": _reason(faults), "code": faults[0].code}


def _reason(faults: Sequence[Fault]) -> str:
    return "; ".join(
        _REASONS.get(fault.code) or f"{fault.field}: {fault.detail}".removesuffix(": ") for fault in faults
    )
