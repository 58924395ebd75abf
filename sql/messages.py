"""Messages as they are shown, and what is done to them from outside: delete, cancel, clean up, expire."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mailproxy.model import AccountPk, EventDetail, MessageId, Resolution, Seconds, State, Status, TenantPk
from mailproxy.pec.missing import TOLD_WITHIN
from mailproxy.records import Deleted, EventView, MessageFilter, MessageView
from sql import rows
from sql.engine import Work, one
from sql.queries import Row, Step
from sql.suspensions import SqlSuspensions

CHUNK = 1000
STRETCH = 10
"""So many chunks of a tenant's messages are looked through at once for those of one account."""
PAST_ALL = MessageId(1 << 62)
WIDEST = 5000
BY_DECISION = EventDetail(reason="resolved")
NOT_SENT = EventDetail(reason="resolved", error="Its outcome stayed unknown; resolved as not sent")
DECIDED: Mapping[Resolution, Mapping[str, object]] = {
    Resolution.SENT: {"status": 1, "error": None, "kind": "sent", "detail": BY_DECISION.to_json()},
    Resolution.RETRY: {
        "status": 0,
        "error": None,
        "kind": "retry_after_unknown",
        "detail": BY_DECISION.to_json(),
    },
    Resolution.ERROR: {"status": 2, "error": NOT_SENT.error, "kind": "error", "detail": NOT_SENT.to_json()},
}
STORED = {State[status.name]: status for status in Status if status is not Status.QUEUED}


@dataclass(frozen=True, slots=True)
class SqlMessages(SqlSuspensions):
    fallback: bool

    async def messages(
        self, tenant: TenantPk | None, wanted: MessageFilter, *, after: MessageId | None, limit: int
    ) -> list[MessageView]:
        params = filters(wanted) | {"tenant": tenant}
        if wanted.newest_first:
            return await self.engine.read(lambda: _newest(params, after or PAST_ALL, limit))
        found = await self.engine.read(
            lambda: one("messages", **params, after=after or 0, before=PAST_ALL, limit=limit)
        )
        return [rows.message_view(row) for row in found]

    async def message(self, tenant: TenantPk, client_id: str) -> MessageView | None:
        return await self.engine.read(lambda: _shown(tenant, client_id))

    async def events(self, tenant: TenantPk, client_id: str) -> list[EventView] | None:
        return await self.engine.read(lambda: _events(tenant, client_id))

    async def history(self, messages: Sequence[MessageId]) -> dict[MessageId, list[EventView]]:
        found = await self.engine.read(lambda: one("history", ids=list(messages)))
        events: dict[MessageId, list[EventView]] = {}
        for message, *row in found:
            events.setdefault(MessageId(message), []).append(rows.event_view(tuple(row)))
        return events

    async def delete_messages(self, tenant: TenantPk, client_ids: Sequence[str]) -> Deleted:
        found = await self._delete(tenant, client_ids)
        return Deleted(
            removed=tuple(client_id for client_id, removed in found if removed),
            being_sent=tuple(client_id for client_id, removed in found if not removed),
        )

    async def empty(self, tenant: TenantPk, account: AccountPk | None = None, *, chunk: int = CHUNK) -> None:
        """Remove the tenant's (or only the account's) messages but those being handed over, in chunks that are each
        committed: a million of them in one statement would take longer than a statement may."""
        stretch = chunk if account is None else STRETCH * chunk
        after, seen = 0, stretch
        while seen == stretch:
            whose = {"tenant": tenant, "account": account, "after": after, "limit": stretch}
            ((seen, after, found),) = await self.engine.read(lambda whose=whose: one("messages_of", **whose))  # type: ignore[misc]
            named = json.loads(found or "[]")
            for first in range(0, len(named), chunk):
                await self._delete(tenant, named[first : first + chunk], account)

    async def _delete(
        self, tenant: TenantPk, client_ids: Sequence[str], account: AccountPk | None = None
    ) -> list[Row]:
        named = {"tenant": tenant, "account": account, "client_ids": list(client_ids)}
        return await self.engine.write(lambda: one("delete_messages", **named))

    async def cancel(self, tenant: TenantPk, client_id: str) -> State | None:
        return await self.engine.write(lambda: _cancel(tenant, client_id, self.fallback))

    async def resolve(
        self, tenant: TenantPk, client_id: str, resolution: Resolution, *, max_age: Seconds
    ) -> State | None:
        whose = {"tenant": tenant, "client_id": client_id}
        decided = {**DECIDED[resolution], "max_age": max_age, "fallback": self.fallback}
        return await self.engine.write(lambda: _resolve(whose, decided))

    async def cleanup(self, tenant: TenantPk | None, older_than: Seconds, *, limit: int) -> int:
        removed, after = 0, 0
        which = {"tenant": tenant, "older_than": older_than, "told_within": TOLD_WITHIN}
        while after is not None and removed < limit:
            page = which | {"after": after, "limit": min(limit, 1000)}
            ((after, gone),) = await self.engine.write(lambda page=page: one("cleanup", **page))  # type: ignore[misc]
            removed += gone
        return removed

    async def expire(self, *, limit: int) -> int:
        found = [id_ for (id_,) in await self.engine.read(lambda: one("past_their_age", limit=limit))]
        if not found:
            return 0
        return len(await self.engine.write(lambda: one("expire", ids=found, fallback=self.fallback)))


def filters(wanted: MessageFilter) -> dict[str, object]:
    """The parameters of the query `messages` but for the tenant and the page."""
    status = None if wanted.state is None else STORED.get(wanted.state, Status.QUEUED)
    return {
        "active_only": wanted.active_only,
        "status": None if status is None else int(status),
        "queue_state": str(wanted.state) if status is Status.QUEUED else None,
        "account_id": wanted.account_id,
        "batch_code": wanted.batch_code,
        "since": wanted.since,
        "until": wanted.until,
        "text": None if wanted.text is None else f"%{rows.like(wanted.text)}%",
        "payload": wanted.include_payload,
    }


def _newest(params: Mapping[str, object], before: MessageId, limit: int) -> Work[list[MessageView]]:
    """Backwards by windows that grow while a filter leaves little of them: each is read along the index."""
    views: list[MessageView] = []
    size = limit
    while len(views) < limit:
        ((window,),) = yield (
            Step("message_window", {"tenant": params["tenant"], "before": before, "size": size}),
        )
        first, count = window
        if count:
            (found,) = yield (
                Step("messages", {**params, "after": first - 1, "before": before, "limit": count}),
            )
            views += [rows.message_view(row) for row in reversed(found)]
        if count < size:
            break
        before, size = first, min(4 * size, WIDEST)
    return views[:limit]


def _shown(tenant: TenantPk, client_id: str) -> Work[MessageView | None]:
    (known,) = yield (Step("message_known", {"tenant": tenant, "client_id": client_id}),)
    if not known:
        return None
    (found,) = yield (the_one(MessageId(known[0][0]), MessageFilter()),)
    return rows.message_view(found[0])


def the_one(message: MessageId, wanted: MessageFilter) -> Step:
    """A page that holds this message alone."""
    page = {"tenant": None, "after": message - 1, "before": message + 1, "limit": 1}
    return Step("messages", filters(wanted) | page)


def _events(tenant: TenantPk, client_id: str) -> Work[list[EventView] | None]:
    whose = {"tenant": tenant, "client_id": client_id}
    (known, found) = yield (Step("message_known", whose), Step("events", whose))
    if not known:
        return None
    return [rows.event_view(row) for row in found]


def _cancel(tenant: TenantPk, client_id: str, fallback: bool) -> Work[State | None]:
    whose = {"tenant": tenant, "client_id": client_id}
    (cancelled,) = yield (Step("cancel", whose | {"fallback": fallback}),)
    if cancelled:
        return State.CANCELLED
    (known,) = yield (Step("message_known", whose),)
    return _state(known[0]) if known else None


def _resolve(whose: Mapping[str, object], decided: Mapping[str, object]) -> Work[State | None]:
    """Behind the gate of a submission, as a message that is sent again needs its account and its suspensions."""
    (known,) = yield (Step("message_known", whose),)
    if not known:
        return None
    _, resolved = yield (
        Step("enqueue_gate", {"accounts": [known[0][3]]}),
        Step("resolve", {**whose, **decided}),
    )
    if resolved:
        return State.UNKNOWN
    (known,) = yield (Step("message_known", whose),)
    return _state(known[0]) if known else None


def _state(known: Row) -> State:
    """Coarse: whatever keeps a waiting message waiting."""
    status = Status(known[1])
    if status is not Status.QUEUED:
        return State[status.name]
    return State.SENDING if known[2] else State.PENDING
