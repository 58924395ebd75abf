"""Calls about SMTP accounts."""

from collections.abc import Sequence
from typing import TypedDict, Unpack

from mailproxy.client.answers import Account, Page
from mailproxy.client.exchange import Context, Request, Steps, ask, every, path, present
from mailproxy.client.reading import many, read
from mailproxy.model import Seconds


class AccountFields(TypedDict, total=False):
    """What an account may have besides its server. A password is written and never read back."""

    user: str
    password: str
    use_tls: bool | None
    tls_verify: bool
    tls_ca: str
    ttl: int
    batch_size: int
    max_retries: int
    retry_delays: Sequence[Seconds]
    on_unknown_outcome: str
    limit_per_minute: int
    limit_per_hour: int
    limit_per_day: int
    limit_behavior: str
    is_pec_account: bool
    pec_address: str
    imap_host: str
    imap_port: int
    imap_user: str
    imap_password: str
    imap_folder: str
    imap_ssl: bool | None


class AccountChanges(AccountFields, total=False):
    host: str
    port: int


def everything(context: Context, tenant_id: str | None = None) -> Steps[list[Account]]:
    """The tenant's accounts by id."""

    def part(cursor: str | None) -> Steps[Page[Account]]:
        query = {"tenant_id": context.tenant(tenant_id), "cursor": cursor}
        answer = yield from ask(context, Request("GET", "/accounts", query))
        return Page(many(Account, answer.get("accounts")), answer.get("next_cursor"))

    return (yield from every(part))


def get(context: Context, account_id: str, tenant_id: str | None = None) -> Steps[Account]:
    """Raises NotFound."""
    return read(Account, (yield from ask(context, _about(context, "GET", account_id, tenant_id))))


def add(
    context: Context,
    id: str,
    host: str,
    port: int,
    *,
    tenant_id: str | None = None,
    **fields: Unpack[AccountFields],
) -> Steps[None]:
    """Make the account, or replace it; a password that is not given stays as it is."""
    named = {"id": id, "host": host, "port": port, "tenant_id": context.tenant(tenant_id)}
    yield from ask(context, Request("POST", "/account", body=present({**named, **fields})))


def update(
    context: Context, account_id: str, *, tenant_id: str | None = None, **fields: Unpack[AccountChanges]
) -> Steps[None]:
    """Change what is given and nothing else; `use_tls=None` is TLS if offered. Raises NotFound."""
    yield from ask(context, _about(context, "PATCH", account_id, tenant_id, body={**fields}))


def delete(context: Context, account_id: str, tenant_id: str | None = None) -> Steps[None]:
    """Remove the account with its messages; raises BadRequest when the tenant has none of this id."""
    yield from ask(context, _about(context, "DELETE", account_id, tenant_id))


def reset(context: Context, account_id: str, tenant_id: str | None = None) -> Steps[None]:
    """Close its breaker: the account works again. Raises NotFound."""
    yield from ask(context, _about(context, "POST", account_id, tenant_id, "reset"))


def _about(
    context: Context,
    method: str,
    account_id: str,
    tenant_id: str | None,
    *deed: str,
    body: dict[str, object] | None = None,
) -> Request:
    query = {"tenant_id": context.tenant(tenant_id)}
    return Request(method, path("account", account_id, *deed), query, body)
