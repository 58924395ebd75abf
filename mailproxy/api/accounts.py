"""SMTP accounts: everything of them is shown but their secrets."""

from dataclasses import replace
from typing import Any

from mailproxy import egress, shapes, written
from mailproxy.api import paging, refusals, targets
from mailproxy.api.answers import Answer
from mailproxy.api.refusals import Refusal
from mailproxy.api.routing import Call
from mailproxy.api.wire import AccountChange, AccountForm, PageQuery, TenantQuery
from mailproxy.model import OnUnknownOutcome, TenantPk
from mailproxy.records import AccountView, AccountWrite

_NOT_OURS = "account not found or not owned by tenant"


async def put(call: Call, body: AccountForm) -> Answer:
    """Create or replace; a secret that is not given stays."""
    tenant = await _owner(call, body.tenant_id)
    stored = await call.store.directory.account(tenant, body.id)
    fresh = AccountWrite(id=body.id, host=body.host, port=body.port)
    if body.is_pec_account:
        fresh = _held_in_doubt(fresh)
    wanted = _changed(fresh, body)
    await call.store.directory.put_account(tenant, _placed(call, wanted, body, stored))
    return {"ok": True}


async def change(call: Call, query: TenantQuery, body: AccountChange) -> Answer:
    tenant, view = await _one(call, query.tenant_id or body.tenant_id)
    stored = written.account(view)
    if body.is_pec_account and not stored.is_pec_account:
        stored = _held_in_doubt(stored)
    wanted = _changed(stored, body)
    await call.store.directory.put_account(tenant, _placed(call, wanted, body, view))
    return {"ok": True}


async def show(call: Call, query: TenantQuery) -> Answer:
    _, view = await _one(call, query.tenant_id)
    shown = {"ok": True, **shapes.account(view)}
    if view.account.imap_host is None:
        return shown
    health = await call.store.inbound.health(view.account.pk)
    return shown | {"mailbox": shapes.mailbox_health(health, enabled=True)}


async def listing(call: Call, query: PageQuery) -> Answer:
    tenant = await call.tenant(query.tenant_id)
    if tenant is None:
        return {"ok": True, "accounts": []}
    found = await call.store.directory.accounts(
        tenant, after=paging.decode(query.cursor), limit=query.limit + 1
    )
    shown, more = paging.page(found, query.limit, lambda view: view.account.id)
    return {"ok": True, "accounts": [shapes.account(view) for view in shown], **more}


async def delete(call: Call, query: TenantQuery) -> Answer:
    tenant = await call.tenant(query.tenant_id)
    if tenant is None or not await call.store.directory.delete_account(tenant, call.path["id"]):
        raise Refusal(400, _NOT_OURS, "account_not_found")
    return {"ok": True}


async def reset(call: Call, query: TenantQuery) -> Answer:
    """Close the breaker: the operator says that the account works again."""
    tenant = await call.tenant(query.tenant_id)
    if tenant is None or not await call.store.directory.reset_account(tenant, call.path["id"]):
        raise refusals.missing("Account", call.path["id"])
    await call.wake_senders()
    return {"ok": True}


async def _owner(call: Call, tenant_id: str | None) -> TenantPk:
    if call.caller.is_admin and tenant_id is None:
        raise refusals.schema_fault("body", "tenant_id")
    tenant = await call.tenant(tenant_id)
    if tenant is None:
        raise refusals.missing("Tenant", tenant_id or "")
    return tenant


async def _one(call: Call, tenant_id: str | None) -> tuple[TenantPk, AccountView]:
    tenant = await call.tenant(tenant_id)
    view = None if tenant is None else await call.store.directory.account(tenant, call.path["id"])
    if tenant is None or view is None:
        raise refusals.missing("Account", call.path["id"])
    return tenant, view


def _placed(call: Call, write: AccountWrite, form: AccountChange, stored: AccountView | None) -> AccountWrite:
    targets.keep_passwords_at_home(call, write, stored)
    by_tenant = targets.host_set_by_tenant(
        call,
        (write.host, write.port),
        (stored.account.host, stored.account.port) if stored else None,
        given="host" in form.model_fields_set,
        before=stored is not None and stored.account.host_set_by_tenant,
    )
    return replace(
        write, host_set_by_tenant=by_tenant, imap_host_set_by_tenant=_imap(call, write, form, stored)
    )


def _imap(call: Call, write: AccountWrite, form: AccountChange, stored: AccountView | None) -> bool:
    if write.imap_host is None:
        return False
    former = stored.account if stored is not None and stored.account.imap_host is not None else None
    return targets.host_set_by_tenant(
        call,
        (write.imap_host, write.imap_port),
        (former.imap_host or "", former.imap_port) if former else None,
        given="imap_host" in form.model_fields_set,
        before=former is not None and former.imap_host_set_by_tenant,
        ports=egress.IMAP_PORTS,
    )


def _held_in_doubt(write: AccountWrite) -> AccountWrite:
    """A certified message that goes out twice is two legal facts (RELIABILITY H8)."""
    return replace(write, on_unknown_outcome=OnUnknownOutcome.HOLD)


def _changed(write: AccountWrite, form: AccountChange) -> AccountWrite:
    given: dict[str, Any] = {
        name: getattr(form, name) for name in form.model_fields_set - {"id", "tenant_id"}
    }
    if form.password is not None:
        given["password"] = form.password.get_secret_value()
    if form.imap_password is not None:
        given["imap_password"] = form.imap_password.get_secret_value()
    return replace(write, **given)
