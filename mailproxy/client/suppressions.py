"""Calls about addresses that a tenant's mail is not sent to."""

from collections.abc import Iterable, Mapping

from mailproxy.client.answers import Page, Suppressed, Suppression
from mailproxy.client.exchange import Context, Request, Steps, ask, every, present
from mailproxy.client.reading import many, read
from mailproxy.model import Instant

PAGE = 500
MOST = 1000


def page(
    context: Context,
    *,
    tenant_id: str | None = None,
    q: str | None = None,
    reason: str | None = None,
    cursor: str | None = None,
    limit: int = PAGE,
) -> Steps[Page[Suppression]]:
    """At most `limit` entries, of which 500 are the most, by address; `q` is text that the addresses hold."""
    query = {
        "tenant_id": context.tenant(tenant_id),
        "q": q,
        "reason": reason,
        "cursor": cursor,
        "limit": limit,
    }
    answer = yield from ask(context, Request("GET", "/suppressions", query))
    return Page(many(Suppression, answer.get("suppressions")), answer.get("next_cursor"))


def everything(
    context: Context, *, tenant_id: str | None = None, q: str | None = None, reason: str | None = None
) -> Steps[list[Suppression]]:
    """All entries by address; `page` gives them piece by piece."""
    return (
        yield from every(lambda cursor: page(context, tenant_id=tenant_id, q=q, reason=reason, cursor=cursor))
    )


def add(
    context: Context,
    address: str,
    *,
    tenant_id: str | None = None,
    reason: str | None = None,
    expires_at: Instant | str | None = None,
) -> Steps[Suppressed]:
    """Send nothing more to the address, whose entry is made anew if there is one; raises BadRequest."""
    body = present({"address": address, "reason": reason, "expires_at": expires_at})
    request = Request("POST", "/suppressions", {"tenant_id": context.tenant(tenant_id)}, body)
    return read(Suppressed, (yield from ask(context, request)))


def add_many(
    context: Context, entries: Iterable[Mapping[str, object]], *, tenant_id: str | None = None
) -> Steps[Suppressed]:
    """At most 1000 entries, each with `address`, `reason` and `expires_at`; raises BadRequest when none is right."""
    body = {"suppressions": [present(entry) for entry in entries]}
    request = Request("POST", "/suppressions", {"tenant_id": context.tenant(tenant_id)}, body)
    return read(Suppressed, (yield from ask(context, request)))


def remove(context: Context, address: str, *, tenant_id: str | None = None) -> Steps[None]:
    """Send mail to the address again; raises NotFound."""
    query = {"tenant_id": context.tenant(tenant_id), "address": address}
    yield from ask(context, Request("DELETE", "/suppressions", query))
