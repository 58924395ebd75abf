"""Calls about messages."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypedDict, Unpack

from mailproxy.client.answers import Added, Event, Explanation, Message, Page, Removed
from mailproxy.client.certified import Receipt
from mailproxy.client.errors import StillWaiting
from mailproxy.client.exchange import Context, Pause, Request, Steps, ask, every, path, present
from mailproxy.client.reading import many, read
from mailproxy.model import Instant, Seconds

KEY = "Idempotency-Key"
PAGE = 1000

_FIRST_LOOK: Seconds = 0.05
_LONGEST_LOOK: Seconds = 2.0


class Attachment(TypedDict, total=False):
    """`filename` and `storage_path` are needed; `fetch_mode` is base64, http_url, endpoint or filesystem."""

    filename: str
    storage_path: str
    fetch_mode: str
    mime_type: str
    content_md5: str
    auth: Mapping[str, str]
    content_id: str
    inline: bool


NewMessage = TypedDict(
    "NewMessage",
    {
        "id": str,
        "tenant_id": str,
        "account_id": str,
        "from": str,
        "to": str | Sequence[str],
        "cc": str | Sequence[str],
        "bcc": str | Sequence[str],
        "reply_to": str,
        "return_path": str,
        "message_id": str,
        "subject": str,
        "body": str,
        "body_text": str,
        "body_html": str,
        "content_type": str,
        "headers": Mapping[str, str],
        "attachments": Sequence[Attachment],
        "priority": int | str,
        "batch_code": str,
        "deferred_ts": float | str,
        "expires_at": float | str,
        "max_age": float,
        "ignore_suppressions": bool,
    },
    total=False,
)
AnyMessage = NewMessage | Mapping[str, Any]


def add(
    context: Context,
    messages: AnyMessage | Sequence[AnyMessage],
    *,
    default_priority: int | str | None = None,
    idempotency_key: str | None = None,
) -> Steps[Added]:
    """Queue messages, all that are right in one transaction; raises NothingAdded when none was queued.

    `id`, `account_id`, `from`, `to` and `subject` are needed. The call is repeated under one key, so that
    an answer lost on the way costs nothing; an unsent id given again replaces the former message.
    """
    given = [messages] if isinstance(messages, Mapping) else list(messages)
    if context.tenant_id is not None:
        given = [{"tenant_id": context.tenant_id, **one} for one in given]
    request = Request(
        "POST",
        "/commands/add-messages",
        body=present({"messages": given, "default_priority": default_priority}),
        headers={KEY: idempotency_key or context.new_id()},
    )
    return read(Added, (yield from ask(context, request)))


class Filters(TypedDict, total=False):
    """Which messages and what of them; the oldest come first. `q` is looked for in id, error and content."""

    status: str
    account_id: str
    batch_code: str
    since: Instant | str
    until: Instant | str
    q: str
    newest_first: bool
    include_payload: bool
    include_history: bool


def page(
    context: Context,
    *,
    tenant_id: str | None = None,
    active_only: bool = False,
    cursor: str | None = None,
    limit: int = PAGE,
    **wanted: Unpack[Filters],
) -> Steps[Page[Message]]:
    """At most `limit` messages, of which 5000 are the most."""
    query = {"tenant_id": context.tenant(tenant_id), "active_only": active_only or None, **wanted}
    answer = yield from ask(context, Request("GET", "/messages", {**query, "cursor": cursor, "limit": limit}))
    return Page(many(Message, answer.get("messages")), answer.get("next_cursor"))


def everything(
    context: Context,
    tenant_id: str | None = None,
    active_only: bool = False,
    *,
    limit: int | None = None,
    **wanted: Unpack[Filters],
) -> Steps[list[Message]]:
    """All messages, or the first `limit`; `page` gives them piece by piece."""
    size = PAGE if limit is None else min(PAGE, limit)

    def part(cursor: str | None) -> Steps[Page[Message]]:
        return page(
            context, tenant_id=tenant_id, active_only=active_only, cursor=cursor, limit=size, **wanted
        )

    return (yield from every(part, limit))


def pending(context: Context, tenant_id: str | None = None) -> Steps[list[Message]]:
    """Those that have not ended."""
    return (yield from everything(context, tenant_id, True))


def sent(context: Context, tenant_id: str | None = None) -> Steps[list[Message]]:
    return (yield from everything(context, tenant_id, status="sent"))


def errors(context: Context, tenant_id: str | None = None) -> Steps[list[Message]]:
    return (yield from everything(context, tenant_id, status="error"))


def get(context: Context, message_id: str, tenant_id: str | None = None) -> Steps[Message]:
    """Raises NotFound."""
    return read(Message, (yield from ask(context, _about(context, "GET", message_id, tenant_id))))


def events(context: Context, message_id: str, tenant_id: str | None = None) -> Steps[list[Event]]:
    """What happened to the message, the first thing first."""
    answer = yield from ask(context, _about(context, "GET", message_id, tenant_id, "events"))
    return many(Event, answer.get("events"))


def explain(context: Context, message_id: str, tenant_id: str | None = None) -> Steps[Explanation]:
    """Why the message has not gone, and what would let it go."""
    return read(
        Explanation, (yield from ask(context, _about(context, "GET", message_id, tenant_id, "explanation")))
    )


def receipts(context: Context, message_id: str, tenant_id: str | None = None) -> Steps[list[Receipt]]:
    """The receipts of certified mail (PEC) that are kept for a message's id, the first first."""
    answer = yield from ask(context, _about(context, "GET", message_id, tenant_id, "receipts"))
    return many(Receipt, answer.get("receipts"))


def receipt(context: Context, message_id: str, n: int, tenant_id: str | None = None) -> Steps[bytes]:
    """One of them, octet for octet; raises NotFound."""
    request = _about(context, "GET", message_id, tenant_id, "receipts", str(n))
    found: bytes = yield from ask(context, replace(request, is_json=False))
    return found


def cancel(context: Context, message_id: str, tenant_id: str | None = None) -> Steps[None]:
    """Raises Conflict once its hand-over has begun."""
    yield from ask(context, _about(context, "POST", message_id, tenant_id, "cancel"))


def resolve(
    context: Context,
    message_id: str,
    resolution: Literal["sent", "retry", "error"],
    tenant_id: str | None = None,
) -> Steps[None]:
    """Decide about a message whose outcome is unknown; raises Conflict for any other."""
    request = _about(context, "POST", message_id, tenant_id, "resolve", body={"as": resolution})
    yield from ask(context, request)


def delete(context: Context, ids: str | Sequence[str], tenant_id: str | None = None) -> Steps[Removed]:
    """Remove messages in any state but those being sent right now."""
    given = [ids] if isinstance(ids, str) else list(ids)
    query = {"tenant_id": context.tenant(tenant_id)}
    request = Request("POST", "/commands/delete-messages", query, {"ids": given})
    return read(Removed, (yield from ask(context, request)))


def cleanup(
    context: Context, tenant_id: str | None = None, older_than_seconds: Seconds | None = None
) -> Steps[int]:
    """Remove what ended and was reported longer ago than that; how many they were."""
    query = {"tenant_id": context.tenant(tenant_id)}
    body = present({"older_than_seconds": older_than_seconds})
    answer = yield from ask(context, Request("POST", "/commands/cleanup-messages", query, body))
    return read(Removed, answer).removed


def wait_until_sent(
    context: Context, ids: str | Sequence[str], timeout: Seconds, tenant_id: str | None = None
) -> Steps[dict[str, Message]]:
    """The messages by id once each of them has ended, sent or not; raises StillWaiting, and NotFound.

    It asks for one after the other: for a few messages, not in place of delivery reports.
    """
    waiting = dict.fromkeys([ids] if isinstance(ids, str) else ids)
    ended: dict[str, Message] = {}
    ends_at, pause = context.clock() + timeout, _FIRST_LOOK
    while True:
        for identity in list(waiting):
            found = yield from get(context, identity, tenant_id)
            if found.has_ended:
                ended[identity] = found
                del waiting[identity]
        left = ends_at - context.clock()
        if not waiting:
            return ended
        if left <= 0:
            raise StillWaiting(list(waiting))
        yield Pause(min(pause, left))
        pause = min(2 * pause, _LONGEST_LOOK)


def _about(
    context: Context,
    method: str,
    message_id: str,
    tenant_id: str | None,
    *deed: str,
    body: Mapping[str, object] | None = None,
) -> Request:
    query = {"tenant_id": context.tenant(tenant_id)}
    return Request(method, path("messages", message_id, *deed), query, body)
