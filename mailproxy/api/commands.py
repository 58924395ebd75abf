"""Commands: dispatch now, suspend and activate, delete and clean up."""

from typing import Any

from mailproxy.api import refusals
from mailproxy.api.answers import Answer
from mailproxy.api.refusals import Refusal
from mailproxy.api.routing import Call
from mailproxy.api.wire import BatchQuery, CleanupMessages, DeleteMessages, TenantQuery
from mailproxy.records import Suspensions
from mailproxy.shapes import present

_CLEANUP_CHUNK = 1000


async def run_now(call: Call, query: TenantQuery) -> Answer:
    """Wakes dispatch and reports, of one tenant for its key, and returns at once."""
    tenant = call.caller.own(query.tenant_id)
    if tenant is None and query.tenant_id:
        tenant = await call.tenant(query.tenant_id)
        if tenant is None:
            raise refusals.missing("Tenant", query.tenant_id)
    await call.store.reports.poke(tenant)
    await call.store.wakeups.announce("queue")
    await call.store.wakeups.announce("reports")
    return {"ok": True}


async def suspend(call: Call, query: BatchQuery) -> Answer:
    if _means_everything(call, query):
        await call.store.directory.suspend(None, None)
        return {"ok": True, "active": False}
    tenant = await call.tenant(query.tenant_id)
    if tenant is None:
        raise Refusal(400, "tenant not found", "tenant_not_found")
    return _suspensions(call, query, await call.store.directory.suspend(tenant, query.batch_code))


async def activate(call: Call, query: BatchQuery) -> Answer:
    if _means_everything(call, query):
        await call.store.directory.activate(None, None)
        await call.wake_senders()
        return {"ok": True, "active": True}
    tenant = await call.tenant(query.tenant_id)
    left = None if tenant is None else await call.store.directory.activate(tenant, query.batch_code)
    if left is None:
        text = "tenant not found or cannot activate single batch from full suspension"
        raise Refusal(400, text, "cannot_activate")
    await call.wake_senders()
    return _suspensions(call, query, left)


def _means_everything(call: Call, query: BatchQuery) -> bool:
    return call.caller.is_admin and query.tenant_id is None and query.batch_code is None


def _suspensions(call: Call, query: BatchQuery, found: Suspensions) -> dict[str, Any]:
    principal = call.caller.principal
    return present(
        {
            "ok": True,
            "tenant_id": principal.tenant_id if principal else query.tenant_id,
            "batch_code": query.batch_code,
            "suspended_batches": list(found.codes),
            "pending_messages": found.pending,
        }
    )


async def delete_messages(call: Call, query: TenantQuery, body: DeleteMessages) -> Answer:
    """Unknown and foreign ids alike are `not_found`; what is being sent right now stays, as `being_sent`."""
    tenant = await call.tenant(query.tenant_id)
    wanted = [identity for identity in dict.fromkeys(body.ids) if identity]
    if tenant is None or not wanted:
        return {"ok": True, "removed": 0, "not_found": wanted, "unauthorized": []}
    done = await call.store.directory.delete_messages(tenant, wanted)
    known = {*done.removed, *done.being_sent}
    answer = {
        "ok": True,
        "removed": len(done.removed),
        "not_found": [identity for identity in wanted if identity not in known],
        "unauthorized": [],
    }
    return {**answer, "being_sent": list(done.being_sent)} if done.being_sent else answer


async def cleanup_messages(call: Call, query: TenantQuery, body: CleanupMessages) -> Answer:
    tenant = await call.tenant(query.tenant_id)
    if tenant is None:
        return {"ok": True, "removed": 0}
    age = body.older_than_seconds
    if age is None:
        age = call.services.settings.delivery_report_retention_seconds
    removed, chunk = 0, _CLEANUP_CHUNK
    while chunk == _CLEANUP_CHUNK:
        chunk = await call.store.directory.cleanup(tenant, age, limit=_CLEANUP_CHUNK)
        removed += chunk
    return {"ok": True, "removed": removed}
