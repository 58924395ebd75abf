"""Suppression lists: addresses that a tenant's mail is not sent to."""

import time
from typing import Any

from mailproxy import shapes
from mailproxy.api import paging, refusals
from mailproxy.api.answers import Answer
from mailproxy.api.refusals import Refusal
from mailproxy.api.routing import Call
from mailproxy.api.wire import TenantQuery
from mailproxy.api.wire_suppressions import (
    SuppressionForm,
    SuppressionQuery,
    SuppressionsForm,
    SuppressionsQuery,
)
from mailproxy.errors import InvalidInput
from mailproxy.model import Instant, TenantPk
from mailproxy.suppressions import Cause, NewSuppression, SuppressionFilter, key_of, normalised

_MOST_TOLD = 3


async def listing(call: Call, query: SuppressionsQuery) -> Answer:
    tenant = await _owner(call, query.tenant_id)
    found = await call.store.suppressions.listed(
        tenant,
        SuppressionFilter(None if query.q is None else key_of(query.q), query.reason),
        after=paging.decode(query.cursor) or "",
        limit=query.limit + 1,
    )
    shown, more = paging.page(found, query.limit, lambda entry: entry.address)
    return {"ok": True, "suppressions": [shapes.suppression(entry) for entry in shown], **more}


async def add(call: Call, query: TenantQuery, body: SuppressionsForm) -> Answer:
    """What can be added is; an address that is listed gets the new reason and time."""
    tenant = await _owner(call, query.tenant_id)
    now = time.time()
    entries: list[NewSuppression] = []
    refused: list[dict[str, Any]] = []
    for form in body.entries():
        try:
            entries.append(_entry(form, now))
        except InvalidInput as fault:
            refused.append({"address": form.address, "code": fault.error_code, "reason": fault.detail})
    if not entries:
        told = "; ".join(list(dict.fromkeys(str(one["reason"]) for one in refused))[:_MOST_TOLD])
        raise Refusal(400, f"Nothing was added: {told}", "nothing_suppressed")
    added = await call.store.suppressions.add(tenant, entries)
    updated = len({entry.address for entry in entries}) - added
    return {"ok": True, "added": added, "updated": updated, "refused": refused}


async def remove(call: Call, query: SuppressionQuery) -> Answer:
    tenant = await _owner(call, query.tenant_id)
    try:
        wanted = normalised(query.address)
    except InvalidInput:
        raise refusals.missing("Suppression", query.address) from None
    if not await call.store.suppressions.remove(tenant, wanted):
        raise refusals.missing("Suppression", query.address)
    return {"ok": True}


async def _owner(call: Call, tenant_id: str | None) -> TenantPk:
    tenant = await call.tenant(tenant_id)
    if tenant is None:
        raise refusals.missing("Tenant", tenant_id or "")
    return tenant


def _entry(form: SuppressionForm, now: Instant) -> NewSuppression:
    if form.expires_at is not None and form.expires_at <= now:
        raise InvalidInput("expires_at lies in the past", code="invalid_time")
    return NewSuppression(normalised(form.address), form.reason or Cause.MANUAL, form.expires_at)
