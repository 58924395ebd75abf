"""Calls about reports that were set aside; the admin's client that has no tenant means everybody's."""

from collections.abc import Sequence

from mailproxy.client.answers import DeadLetter, Discarded, Page, Replayed
from mailproxy.client.exchange import Context, Request, Steps, ask, every, present
from mailproxy.client.reading import many, read
from mailproxy.model import Instant

PAGE = 500


def page(
    context: Context,
    *,
    tenant_id: str | None = None,
    since: Instant | str | None = None,
    until: Instant | str | None = None,
    cursor: str | None = None,
    limit: int = PAGE,
) -> Steps[Page[DeadLetter]]:
    """At most `limit` letters, of which 500 are the most, of events of this time; the oldest come first."""
    query = {
        "tenant_id": context.tenant(tenant_id),
        "since": since,
        "until": until,
        "cursor": cursor,
        "limit": limit,
    }
    answer = yield from ask(context, Request("GET", "/dead-letters", query))
    return Page(many(DeadLetter, answer.get("dead_letters")), answer.get("next_cursor"))


def everything(
    context: Context,
    tenant_id: str | None = None,
    *,
    since: Instant | str | None = None,
    until: Instant | str | None = None,
) -> Steps[list[DeadLetter]]:
    """All letters of events of this time; `page` gives them piece by piece."""
    return (
        yield from every(
            lambda cursor: page(context, tenant_id=tenant_id, since=since, until=until, cursor=cursor)
        )
    )


def replay(
    context: Context,
    event_ids: Sequence[int] | None = None,
    *,
    tenant_id: str | None = None,
    since: Instant | str | None = None,
    until: Instant | str | None = None,
) -> Steps[Replayed]:
    """Report them again: those that meet everything given, all when nothing is."""
    request = _told("replay", context.tenant(tenant_id), event_ids, since, until)
    return read(Replayed, (yield from ask(context, request)))


def discard(
    context: Context,
    event_ids: Sequence[int] | None = None,
    *,
    tenant_id: str | None = None,
    since: Instant | str | None = None,
    until: Instant | str | None = None,
) -> Steps[Discarded]:
    """Give up reporting them; raises BadRequest when nothing is given."""
    request = _told("discard", context.tenant(tenant_id), event_ids, since, until)
    return read(Discarded, (yield from ask(context, request)))


def _told(
    deed: str,
    tenant_id: str | None,
    event_ids: Sequence[int] | None,
    since: Instant | str | None,
    until: Instant | str | None,
) -> Request:
    events = None if event_ids is None else list(event_ids)
    body = present({"event_ids": events, "since": since, "until": until})
    return Request("POST", f"/dead-letters/{deed}", {"tenant_id": tenant_id}, body)
