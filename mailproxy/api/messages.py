"""Messages as they are listed, looked at, cancelled and deleted."""

import json
from dataclasses import asdict
from typing import Any

from mailproxy.api import paging, refusals
from mailproxy.api.answers import Answer, present, seconds
from mailproxy.api.refusals import Refusal
from mailproxy.api.routing import Call
from mailproxy.api.wire import MessagesQuery, TenantQuery
from mailproxy.model import MessageId, State, TenantPk, public_pk
from mailproxy.records import EventView, MessageFilter, MessageView

_HISTORY_PAGE = 100


async def listing(call: Call, query: MessagesQuery) -> Answer:
    tenant = await call.tenant(query.tenant_id)
    if tenant is None:
        return {"ok": True, "messages": []}
    limit = min(query.limit, _HISTORY_PAGE) if query.include_history else query.limit
    found = await call.store.directory.messages(
        tenant, _filter(query), after=_position(query.cursor), limit=limit + 1
    )
    shown, more = paging.page(found, limit, lambda view: str(view.id))
    instance = await call.services.instance.bits()
    records = [_record(instance, view) for view in shown]
    if query.include_history:
        for record in records:
            record["history"] = await _history(call, tenant, record["id"])
    return {"ok": True, "messages": records, **more}


async def show(call: Call, query: TenantQuery) -> Answer:
    tenant = await _owner(call, query)
    view = await call.store.directory.message(tenant, call.path["id"])
    if view is None:
        raise _missing(call)
    return {"ok": True, **_record(await call.services.instance.bits(), view)}


async def events(call: Call, query: TenantQuery) -> Answer:
    found = await call.store.directory.events(await _owner(call, query), call.path["id"])
    if found is None:
        raise _missing(call)
    return {"ok": True, "events": [_event(event) for event in found]}


async def cancel(call: Call, query: TenantQuery) -> Answer:
    """Before its hand-over began; afterwards 409 names the state."""
    state = await call.store.directory.cancel(await _owner(call, query), call.path["id"])
    if state is None:
        raise _missing(call)
    if state is not State.CANCELLED:
        raise Refusal(409, f"The message cannot be cancelled: it is {state}", "not_cancellable")
    return {"ok": True, "status": state}


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
    )


def _position(cursor: str | None) -> MessageId | None:
    position = paging.decode(cursor)
    if position is None:
        return None
    if not position.isascii() or not position.isdigit() or len(position) > 18:
        raise paging.invalid_cursor()
    return MessageId(int(position))


def _record(instance: int, view: MessageView) -> dict[str, Any]:
    """A message in the fields of the reference; `sent_ts` is only there when it was sent."""
    is_sent = view.state is State.SENT
    done_at = seconds(view.done_at)
    refused = [
        present({"address": one.address, "code": one.code, "enhanced": one.enhanced, "text": one.text})
        for one in view.refused
    ]
    return present(
        {
            "id": view.client_id,
            "pk": public_pk(instance, view.id),
            "tenant_id": view.tenant_id,
            "account_id": view.account_id,
            "status": view.state,
            "priority": int(view.priority),
            "batch_code": view.batch_code,
            "attempts": view.attempts,
            "deferred_ts": seconds(view.deferred_until),
            "sent_ts": done_at if is_sent else None,
            "error_ts": None if is_sent else done_at,
            "error": view.error,
            "refused_recipients": refused or None,
            "reported_ts": seconds(view.reported_at),
            "created_at": seconds(view.created_at),
            "updated_at": seconds(view.updated_at),
            "message": None if view.payload is None else json.loads(view.payload),
        }
    )


async def _history(call: Call, tenant: TenantPk, client_id: str) -> list[dict[str, Any]]:
    return [_event(event) for event in await call.store.directory.events(tenant, client_id) or ()]


def _event(event: EventView) -> dict[str, Any]:
    detail = {name: value for name, value in asdict(event.detail).items() if value not in (None, False, ())}
    return {
        "event_id": event.event_id,
        "event_type": event.event_type,
        "event_ts": seconds(event.event_ts),
        "event_data": detail,
    }
