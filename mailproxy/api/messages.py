"""Messages as they are listed, looked at, cancelled and deleted."""

import re

from starlette.responses import Response

from mailproxy import shapes, shapes_certified
from mailproxy.api import paging, refusals, remedies
from mailproxy.api.answers import Answer
from mailproxy.api.refusals import Refusal
from mailproxy.api.routing import Call
from mailproxy.api.wire import MessagesQuery, Resolve, TenantQuery
from mailproxy.explanation import Terms, explain
from mailproxy.model import MessageId, Resolution, State, TenantPk
from mailproxy.records import MessageFilter


async def listing(call: Call, query: MessagesQuery) -> Answer:
    tenant = await call.tenant(query.tenant_id)
    if tenant is None:
        return {"ok": True, "messages": []}
    found = await call.store.directory.messages(
        tenant, _filter(query), after=_position(query.cursor), limit=query.limit + 1
    )
    shown, more = paging.page(found, query.limit, lambda view: str(view.id))
    instance = await call.services.instance.bits()
    records = [shapes.message(view, instance) for view in shown]
    if query.include_history:
        events = await call.store.directory.history([view.id for view in shown])
        for record, view in zip(records, shown, strict=True):
            record["history"] = [shapes.history(event, view.reported_at) for event in events.get(view.id, ())]
    return {"ok": True, "messages": records, **more}


async def show(call: Call, query: TenantQuery) -> Answer:
    tenant = await _owner(call, query)
    view = await call.store.directory.message(tenant, call.path["id"])
    if view is None:
        raise _missing(call)
    return {"ok": True, **shapes.message(view, await call.services.instance.bits())}


async def events(call: Call, query: TenantQuery) -> Answer:
    found = await call.store.directory.events(await _owner(call, query), call.path["id"])
    if found is None:
        raise _missing(call)
    return {"ok": True, "events": [shapes.event(event) for event in found]}


async def explanation(call: Call, query: TenantQuery) -> Answer:
    """Every obstacle, not the first one only, with what would remove it, as calls of this API."""
    evidence = await call.store.upkeep.evidence(await _owner(call, query), call.path["id"])
    if evidence is None:
        raise _missing(call)
    settings, message = call.services.settings, evidence.message
    found = explain(evidence, Terms(settings.max_retries, 2 * settings.lease_seconds))
    findings = [remedies.finding(one, message.tenant_id) for one in found]
    return {"ok": True, "id": message.client_id, "status": message.state, "findings": findings}


async def receipts(call: Call, query: TenantQuery) -> Answer:
    """Also of a message that is gone: its receipts are kept for longer."""
    found = await call.store.certified.receipts(await _owner(call, query), call.path["id"])
    if found is None:
        raise _missing(call)
    instance = await call.services.instance.bits()
    return {"ok": True, "receipts": [shapes_certified.receipt(one, instance) for one in found]}


async def receipt(call: Call, query: TenantQuery) -> Answer:
    """The mail as it lay in the mailbox, octet for octet."""
    number = call.path["n"]
    tenant = await _owner(call, query)
    wanted = int(number) if re.fullmatch(r"[1-9][0-9]{0,8}", number) else 0
    raw = await call.store.certified.receipt(tenant, call.path["id"], wanted)
    if raw is None:
        raise refusals.missing("Receipt", number)
    name = f"receipt-{wanted}.eml"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
    return Response(raw, media_type="message/rfc822", headers=headers)


async def cancel(call: Call, query: TenantQuery) -> Answer:
    """Before its hand-over began; afterwards 409 names the state."""
    state = await call.store.directory.cancel(await _owner(call, query), call.path["id"])
    if state is None:
        raise _missing(call)
    if state is not State.CANCELLED:
        raise Refusal(409, f"The message cannot be cancelled: it is {state}", "not_cancellable")
    return {"ok": True, "status": state}


async def resolve(call: Call, query: TenantQuery, body: Resolve) -> Answer:
    """For a message whose outcome is unknown; for any other 409 names the state."""
    state = await call.store.directory.resolve(
        await _owner(call, query),
        call.path["id"],
        body.resolution,
        max_age=call.services.settings.message_max_age,
    )
    if state is None:
        raise _missing(call)
    if state is not State.UNKNOWN:
        raise Refusal(409, f"There is nothing in doubt about the message: it is {state}", "not_in_doubt")
    if body.resolution is Resolution.RETRY:
        await call.wake_senders()
    return {"ok": True}


async def _owner(call: Call, query: TenantQuery) -> TenantPk:
    tenant = await call.tenant(query.tenant_id)
    if tenant is None:
        raise _missing(call)
    return tenant


def _missing(call: Call) -> Refusal:
    return refusals.missing("Message", call.path["id"])


def _filter(query: MessagesQuery) -> MessageFilter:
    return MessageFilter(
        active_only=query.active_only,
        state=query.status,
        account_id=query.account_id,
        batch_code=query.batch_code,
        since=query.since,
        until=query.until,
        text=query.q,
        include_payload=query.include_payload,
        newest_first=query.newest_first,
    )


def _position(cursor: str | None) -> MessageId | None:
    position = paging.number(cursor)
    return None if position is None else MessageId(position)
