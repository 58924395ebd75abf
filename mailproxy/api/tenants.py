"""Tenants and their API keys."""

import json
import time
from dataclasses import replace
from typing import Any

from mailproxy import shapes, tokens, written
from mailproxy.api import large_files, paging, refusals, targets
from mailproxy.api.answers import Answer
from mailproxy.api.refusals import Refusal
from mailproxy.api.routing import Call
from mailproxy.api.wire import (
    ClientAuthForm,
    KeyForm,
    RateLimits,
    SyncQuery,
    TenantChange,
    TenantForm,
    TenantsQuery,
)
from mailproxy.authorization import ClientAuth
from mailproxy.records import Tenant, TenantWrite
from mailproxy.shapes import present
from mailproxy.signing import SigningSecret

_OPERATORS = ("rate_limits", "active")


async def put(call: Call, body: TenantForm) -> Answer:
    """Create or replace; what is not given becomes empty, as in the reference."""
    stored = await call.store.directory.tenant(body.id)
    blank = TenantWrite(id=body.id, client_auth=ClientAuth(), switch_on=False, large_file_secrets={})
    write = large_files.changed(call, _changed(blank, body, stored), body.large_file_config, stored)
    key = tokens.new_key()
    is_new = await call.store.directory.put_tenant(write, key.hash, key.key_id)
    return present({"ok": True, "api_key": key.token if is_new else None})


async def change(call: Call, body: TenantChange) -> Answer:
    stored = await stored_tenant(call)
    if not call.caller.is_admin and (given := sorted(body.model_fields_set.intersection(_OPERATORS))):
        raise Refusal(403, f"Only the admin may change {' and '.join(given)}", "admin_required")
    write = large_files.changed(
        call, _changed(written.tenant(stored), body, stored), body.large_file_config, stored
    )
    by_tenant = targets.url_set_by_tenant(
        call,
        write.client_base_url,
        stored.client_base_url,
        given="client_base_url" in body.model_fields_set,
        before=stored.url_set_by_tenant,
    )
    write = replace(write, url_set_by_tenant=by_tenant)
    await call.store.directory.put_tenant(write, None, None)
    return {"ok": True}


async def show(call: Call) -> Answer:
    return shapes.tenant(await stored_tenant(call))


async def listing(call: Call, query: TenantsQuery) -> Answer:
    found = await call.store.directory.tenants(
        active_only=query.active_only, after=paging.decode(query.cursor), limit=query.limit + 1
    )
    shown, more = paging.page(found, query.limit, lambda tenant: tenant.id)
    return {"ok": True, "tenants": [shapes.tenant(tenant) for tenant in shown], **more}


async def sync_status(call: Call, query: SyncQuery) -> Answer:
    found = await call.store.reports.standings(after=paging.decode(query.cursor), limit=query.limit + 1)
    shown, more = paging.page(found, query.limit, lambda standing: standing.tenant_id)
    settings = call.services.settings
    interval, fallback = settings.sync_interval, settings.client_sync_url is not None
    tenants = [shapes.sync(standing, interval, fallback=fallback) for standing in shown]
    return {"ok": True, "sync_interval_seconds": interval, "tenants": tenants, **more}


async def delete(call: Call) -> Answer:
    if not await call.store.directory.delete_tenant(call.path["id"]):
        raise refusals.missing("Tenant", call.path["id"])
    return {"ok": True}


async def make_key(call: Call) -> Answer:
    """A new key; without a body the former one ends at once."""
    wanted = await call.body(KeyForm, optional=True)
    if wanted.expires_at is not None and wanted.expires_at <= time.time():
        raise refusals.schema_fault("body", "expires_at", "must lie in the future", "value_error")
    key = tokens.new_key()
    made = await call.store.directory.put_key(
        call.path["id"],
        key.hash,
        key.key_id,
        expires_at=wanted.expires_at,
        keep_previous=wanted.keep_previous,
    )
    if not made:
        raise refusals.missing("Tenant", call.path["id"])
    return {"ok": True, "api_key": key.token}


async def revoke_key(call: Call) -> Answer:
    if not await call.store.directory.revoke_keys(call.path["id"]):
        raise refusals.missing("Tenant", call.path["id"])
    return {"ok": True}


async def stored_tenant(call: Call) -> Tenant:
    """The tenant the path names, if the caller may see it."""
    tenant_id = call.path["id"]
    call.caller.own(tenant_id)
    stored = await call.store.directory.tenant(tenant_id)
    if stored is None:
        raise refusals.missing("Tenant", tenant_id)
    return stored


def _changed(write: TenantWrite, form: TenantChange, stored: Tenant | None) -> TenantWrite:
    """`write` with what the form gives; a secret that is not given stays while the method does."""
    own = {"id", "webhook_secret", "large_file_config"}
    given: dict[str, Any] = {name: getattr(form, name) for name in form.model_fields_set - own}
    if form.client_auth is not None:
        given["client_auth"] = _auth(form.client_auth, stored.client_auth if stored else ClientAuth())
    if form.rate_limits is not None:
        given.update(_limits(form.rate_limits))
    if form.webhook_secret is not None:
        given["webhook_secrets"] = (SigningSecret(form.webhook_secret.get_secret_value()),)
    changed = replace(write, **given)
    return replace(changed, switch_on=form.switch_on or _points_elsewhere(changed, stored))


def _points_elsewhere(write: TenantWrite, stored: Tenant | None) -> bool:
    """Whether calls go to another place, or log in otherwise, than those that failed."""
    if stored is None:
        return True
    login = stored.client_auth if write.client_auth is None else write.client_auth
    before = (stored.client_base_url, stored.client_sync_path, stored.client_auth)
    return (write.client_base_url, write.client_sync_path, login) != before


def _auth(form: ClientAuthForm, stored: ClientAuth) -> ClientAuth:
    kept = stored if stored.method == form.method else ClientAuth()
    return ClientAuth(
        method=form.method,
        token=form.token.get_secret_value() if form.token else kept.token,
        user=form.user or kept.user,
        password=form.password.get_secret_value() if form.password else kept.password,
    )


def _limits(form: RateLimits) -> dict[str, Any]:
    return {
        "rate_limits": json.dumps(form.model_dump(exclude_none=True)),
        "hourly_limit": form.hourly,
        "daily_limit": form.daily,
    }
