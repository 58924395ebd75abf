"""Calls about tenants and their keys; most are for the admin."""

from collections.abc import Mapping
from typing import Any, TypedDict, Unpack

from mailproxy.client.answers import Page, Standing, Stored, Tenant, WebhookSecret
from mailproxy.client.exchange import Context, Request, Steps, ask, every, path, present
from mailproxy.client.reading import many, read
from mailproxy.model import Instant, Seconds


class TenantFields(TypedDict, total=False):
    """What a tenant may have. Secrets in `client_auth` are written and never read back."""

    name: str
    client_auth: Mapping[str, str]
    client_base_url: str
    client_sync_path: str
    client_attachment_path: str
    rate_limits: Mapping[str, int]
    large_file_config: Mapping[str, Any]
    webhook_secret: str
    report_strict: bool
    report_format: str
    suppress_bounces: bool
    switch_on: bool
    active: bool


def everything(context: Context, active_only: bool = False) -> Steps[list[Tenant]]:
    """All tenants by id."""

    def part(cursor: str | None) -> Steps[Page[Tenant]]:
        query = {"active_only": active_only or None, "cursor": cursor}
        answer = yield from ask(context, Request("GET", "/tenants", query))
        return Page(many(Tenant, answer.get("tenants")), answer.get("next_cursor"))

    return (yield from every(part))


def get(context: Context, tenant_id: str) -> Steps[Tenant]:
    """Raises NotFound."""
    return read(Tenant, (yield from ask(context, Request("GET", path("tenant", tenant_id)))))


def add(context: Context, id: str, **fields: Unpack[TenantFields]) -> Steps[Stored]:
    """Make the tenant, or replace it whole; a new one's API key is told only this once.

    It is not repeated when its answer is lost, as the key would be lost with it.
    """
    request = Request("POST", "/tenant", body={"id": id, **fields}, repeatable=False)
    return read(Stored, (yield from ask(context, request)))


def update(context: Context, tenant_id: str, **fields: Unpack[TenantFields]) -> Steps[None]:
    """Change what is given and nothing else; raises NotFound."""
    yield from ask(context, Request("PUT", path("tenant", tenant_id), body={**fields}))


def delete(context: Context, tenant_id: str) -> Steps[None]:
    """Remove the tenant with its accounts and messages; raises NotFound."""
    yield from ask(context, Request("DELETE", path("tenant", tenant_id)))


def new_key(
    context: Context,
    tenant_id: str,
    *,
    expires_at: Instant | str | None = None,
    keep_previous: Seconds | None = None,
) -> Steps[str]:
    """A new API key in place of the former one, which goes on working for `keep_previous` seconds."""
    body = present({"expires_at": expires_at, "keep_previous": keep_previous})
    request = Request("POST", path("tenant", tenant_id, "api-key"), body=body, repeatable=False)
    answer = yield from ask(context, request)
    return str(answer["api_key"])


def revoke_keys(context: Context, tenant_id: str) -> Steps[None]:
    """No key of the tenant works any more; raises NotFound."""
    yield from ask(context, Request("DELETE", path("tenant", tenant_id, "api-key")))


def new_webhook_secret(
    context: Context,
    tenant_id: str,
    secret: str | None = None,
    *,
    keep_previous: Seconds | None = None,
) -> Steps[WebhookSecret]:
    """Sign the calls to the tenant with this secret or a new one; the former signs as well for `keep_previous` s."""
    body = present({"webhook_secret": secret, "keep_previous": keep_previous})
    request = Request(
        "POST", path("tenant", tenant_id, "webhook-secret"), body=body, repeatable=secret is not None
    )
    return read(WebhookSecret, (yield from ask(context, request)))


def end_webhook_secrets(context: Context, tenant_id: str) -> Steps[None]:
    """Calls to the tenant are not signed any more; raises NotFound."""
    yield from ask(context, Request("DELETE", path("tenant", tenant_id, "webhook-secret")))


def sync_status(context: Context) -> Steps[list[Standing]]:
    """How the calls to each tenant's application stand."""

    def part(cursor: str | None) -> Steps[Page[Standing]]:
        answer = yield from ask(context, Request("GET", "/tenants/sync-status", {"cursor": cursor}))
        return Page(many(Standing, answer.get("tenants")), answer.get("next_cursor"))

    return (yield from every(part))
