"""SMTP accounts: everything of them is shown but their secrets."""

from dataclasses import replace
from typing import Any

from mailproxy.api import paging, refusals
from mailproxy.api.answers import Answer, present, seconds
from mailproxy.api.refusals import Refusal
from mailproxy.api.routing import Call
from mailproxy.api.wire import AccountChange, AccountForm, PageQuery, TenantQuery
from mailproxy.model import TenantPk
from mailproxy.records import AccountView, AccountWrite, Window

_NOT_OURS = "account not found or not owned by tenant"
_PLAIN = (
    "host",
    "port",
    "user",
    "use_tls",
    "tls_verify",
    "tls_ca",
    "batch_size",
    "max_retries",
    "on_unknown_outcome",
    "limit_behavior",
)
_LIMITS = ("limit_per_minute", "limit_per_hour", "limit_per_day")


async def put(call: Call, body: AccountForm) -> Answer:
    """Create or replace; a secret that is not given stays."""
    tenant = await _owner(call, body.tenant_id)
    await call.store.directory.put_account(
        tenant, _changed(AccountWrite(id=body.id, host=body.host, port=body.port), body)
    )
    return {"ok": True}


async def change(call: Call, query: TenantQuery, body: AccountChange) -> Answer:
    tenant, view = await _one(call, query.tenant_id or body.tenant_id)
    await call.store.directory.put_account(tenant, _changed(_as_write(view), body))
    return {"ok": True}


async def show(call: Call, query: TenantQuery) -> Answer:
    _, view = await _one(call, query.tenant_id)
    return {"ok": True, **_info(view)}


async def listing(call: Call, query: PageQuery) -> Answer:
    tenant = await call.tenant(query.tenant_id)
    if tenant is None:
        return {"ok": True, "accounts": []}
    found = await call.store.directory.accounts(
        tenant, after=paging.decode(query.cursor), limit=query.limit + 1
    )
    shown, more = paging.page(found, query.limit, lambda view: view.account.id)
    return {"ok": True, "accounts": [_info(view) for view in shown], **more}


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
    await call.store.wakeups.announce("queue")
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


def _changed(write: AccountWrite, form: AccountChange) -> AccountWrite:
    given: dict[str, Any] = {
        name: getattr(form, name) for name in form.model_fields_set - {"id", "tenant_id"}
    }
    if form.password is not None:
        given["password"] = form.password.get_secret_value()
    return replace(write, **given)


def _as_write(view: AccountView) -> AccountWrite:
    account = view.account
    return AccountWrite(
        id=account.id,
        **{name: getattr(account, name) for name in _PLAIN},
        ttl=int(account.ttl),
        retry_delays=account.retry_delays,
        **{name: getattr(view, name) for name in _LIMITS},
    )


def _info(view: AccountView) -> dict[str, Any]:
    account = view.account
    return present(
        {
            "id": account.id,
            "tenant_id": account.tenant_id,
            **{name: getattr(account, name) for name in _PLAIN},
            "ttl": int(account.ttl),
            "retry_delays": account.retry_delays,
            **{name: getattr(view, name) for name in _LIMITS},
            "password_set": view.password_set,
            "state": view.condition,
            "state_reason": view.reason,
            "state_cause": view.cause,
            "state_since": seconds(view.since),
            "next_try": seconds(view.next_try),
            "limits": {window.name: _window(window) for window in view.windows} or None,
            "created_at": seconds(view.created_at),
            "updated_at": seconds(view.updated_at),
        }
    )


def _window(window: Window) -> dict[str, Any]:
    next_in = None if window.next_in is None else round(window.next_in, 3)
    return present({"limit": window.limit, "used": window.used, "left": window.left, "next": next_in})
