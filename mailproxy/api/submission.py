"""add-messages: every fault of a call is found first, then what is right is queued in one transaction."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mailproxy import egress, submission
from mailproxy.api import idempotency, wire_messages
from mailproxy.api.answers import Answer
from mailproxy.api.audit import MOST
from mailproxy.api.refusals import Refusal, foreign_tenant
from mailproxy.api.routing import Call
from mailproxy.attachments.door import Fetchable
from mailproxy.checks import Fault
from mailproxy.model import TenantPk, public_pk
from mailproxy.once import Kept, Once, Ticket
from mailproxy.submission import Draft, Rejected, Submitted

_TURN = 50


async def add_messages(call: Call) -> Answer:
    """Under an `Idempotency-Key` a call happens once: in the 24 hours after an answer that came from its
    transaction (200, or 400 `all_rejected`) the same key and body get that answer again. Other refusals are not
    kept, as nothing was done. A tenant's keys are its own; those of the admin are one set over all tenants."""
    body = await call.raw()
    ticket = idempotency.ticket(call, body)
    if ticket is None:
        values = [call.value(body)]
        del body  # a long one is not held while its messages are stored
        return await _submitted(call, values, None)
    call.note(idempotency_key=ticket.key)
    with idempotency.alone(call, ticket):
        kept = await call.store.queue.kept_answer(ticket)
        if kept is not None:
            call.note(replayed=True)
            return idempotency.replay(kept, ticket)
        values = [call.value(body)]
        del body
        return await _submitted(call, values, ticket)


async def _submitted(call: Call, values: list[Any], ticket: Ticket | None) -> Answer:
    """`values` is the body's, and is emptied."""
    wanted = wire_messages.decode(values.pop())
    settings = call.services.settings
    if len(wanted.messages) > settings.max_batch:
        text = f"Cannot enqueue more than {settings.max_batch} messages at once"
        raise Refusal(400, {"error": text, "rejected": []}, "batch_too_large")
    drafts, homeless = await _by_tenant(call, await _drafts(call, wanted))
    _note(call, wanted, [*drafts.values()])
    instance = await call.services.instance.bits()

    def said(done: Submitted) -> tuple[int, dict[str, Any]]:
        return _said(instance, done, homeless, wanted.warnings)

    intake = call.services.intake
    if ticket is None:
        return _answer(*said(await submission.submit(call.store, intake, settings, drafts)))
    once: Once[Submitted] = Once(ticket, lambda done: _kept(ticket, *said(done)))
    found = await submission.submit_once(call.store, intake, settings, drafts, once)
    if found is None:
        raise idempotency.in_flight()
    return idempotency.replay(found, ticket) if isinstance(found, Kept) else _answer(*said(found))


def _note(call: Call, wanted: wire_messages.Call, drafts: Sequence[Sequence[Draft]]) -> None:
    """How many messages and the ids of the first, nothing of what they say."""
    tenants = [ours[0].tenant_id for ours in drafts]
    whose = {"tenant_id": tenants[0]} if len(tenants) == 1 else {"tenants": tenants}
    call.note(messages=len(wanted.messages), ids=[one.get("id") for one in wanted.messages[:MOST]], **whose)


def _kept(ticket: Ticket, status: int, said: dict[str, Any]) -> Kept:
    return Kept(ticket.fingerprint, status, json.dumps(said))


def _answer(status: int, said: dict[str, Any]) -> Answer:
    if status != 200:
        raise Refusal(status, said["detail"], said["code"])
    return said


def _said(
    instance: int, done: Submitted, homeless: Sequence[Rejected], warnings: Sequence[str]
) -> tuple[int, dict[str, Any]]:
    rejected = [
        {"id": one.client_id or None, "reason": one.reason, "code": one.code}
        for one in (*homeless, *done.rejected)
    ]
    if not done.accepted and any(one["code"] != "already_sent" for one in rejected):
        detail = {"error": "All messages were rejected", "rejected": rejected}
        return 400, {"detail": detail, "code": "all_rejected"}
    said = {
        "ok": True,
        "queued": len(done.accepted),
        "rejected": rejected,
        "accepted": [
            {"id": one.client_id, "pk": public_pk(instance, one.message_id)}
            | ({"suppressed": list(one.suppressed)} if one.suppressed else {})
            for one in done.accepted
        ],
    }
    return 200, {**said, "warnings": list(warnings)} if warnings else said


async def _drafts(call: Call, wanted: wire_messages.Call) -> list[Draft]:
    """All messages drafted, each with its tenant; of those with one id the last one counts."""
    settings = call.services.settings
    default = settings.default_priority if wanted.default_priority is None else wanted.default_priority
    fetchable = Fetchable(settings.attachment_base_dir, egress.allowed(settings.fetch_allow))
    owners: dict[str, str | None] = {}
    drafts: dict[Any, Draft] = {}
    for number, fields in enumerate(wanted.messages):
        if number % _TURN == _TURN - 1:
            await asyncio.sleep(0)
        draft = wire_messages.draft(fields, default, fetchable)
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
    call: Call, drafts: Sequence[Draft]
) -> tuple[dict[TenantPk, list[Draft]], list[Rejected]]:
    """The drafts of each tenant; those of no known tenant are rejected."""
    groups: dict[str, list[Draft]] = {}
    for draft in drafts:
        groups.setdefault(draft.tenant_id or "", []).append(draft)
    found: dict[TenantPk, list[Draft]] = {}
    homeless = []
    for tenant_id, ours in groups.items():
        tenant = await call.tenant(tenant_id) if tenant_id else None
        if tenant is not None:
            found[tenant] = ours
            continue
        fault = Fault("", "account_not_found" if tenant_id else "missing_tenant_id", "")
        homeless += [Rejected(draft.client_id, (*draft.faults, fault)) for draft in ours]
    return found, homeless
