"""Messages as they are shown, and what is done to them from outside: delete, cancel, clean up, expire."""

from collections.abc import Sequence
from dataclasses import dataclass

from mailproxy.model import EventDetail, EventType, MessageId, Seconds, State, Status, TenantPk
from mailproxy.records import Deleted, EventView, MessageFilter, MessageView
from sql import rows
from sql.engine import Work, one
from sql.queries import Step
from sql.suspensions import SqlSuspensions

STORED = {State[status.name]: status for status in Status if status is not Status.QUEUED}


@dataclass(frozen=True, slots=True)
class SqlMessages(SqlSuspensions):
    fallback: bool

    async def messages(
        self, tenant: TenantPk | None, wanted: MessageFilter, *, after: MessageId | None, limit: int
    ) -> list[MessageView]:
        status = None if wanted.state is None else STORED.get(wanted.state, Status.QUEUED)
        found = await self.engine.read(
            lambda: one(
                "messages",
                tenant=tenant,
                after=after or 0,
                client_id=None,
                active_only=wanted.active_only,
                status=None if status is None else int(status),
                queue_state=str(wanted.state) if status is Status.QUEUED else None,
                account_id=wanted.account_id,
                batch_code=wanted.batch_code,
                since=wanted.since,
                until=wanted.until,
                text=None if wanted.text is None else f"%{rows.like(wanted.text)}%",
                payload=wanted.include_payload,
                limit=limit,
            )
        )
        return [rows.message_view(row) for row in found]

    async def message(self, tenant: TenantPk | None, client_id: str) -> MessageView | None:
        nothing = dict.fromkeys(
            ("status", "queue_state", "account_id", "batch_code", "since", "until", "text"), None
        )
        found = await self.engine.read(
            lambda: one(
                "messages",
                tenant=tenant,
                after=0,
                client_id=client_id,
                active_only=False,
                payload=True,
                limit=1,
                **nothing,
            )
        )
        return rows.message_view(found[0]) if found else None

    async def events(self, tenant: TenantPk, client_id: str) -> list[EventView] | None:
        return await self.engine.read(lambda: _events(tenant, client_id))

    async def delete_messages(self, tenant: TenantPk, client_ids: Sequence[str]) -> Deleted:
        found = await self.engine.write(
            lambda: one("delete_messages", tenant=tenant, client_ids=list(client_ids))
        )
        return Deleted(
            removed=tuple(client_id for client_id, removed in found if removed),
            being_sent=tuple(client_id for client_id, removed in found if not removed),
        )

    async def cancel(self, tenant: TenantPk, client_id: str) -> State | None:
        return await self.engine.write(lambda: _cancel(tenant, client_id, self.fallback))

    async def cleanup(self, tenant: TenantPk | None, older_than: Seconds, *, limit: int) -> int:
        removed, after = 0, 0
        while after is not None and removed < limit:
            ((after, gone),) = await self.engine.write(
                lambda after=after: one(  # type: ignore[misc]
                    "cleanup", tenant=tenant, older_than=older_than, after=after, limit=min(limit, 1000)
                )
            )
            removed += gone
        return removed

    async def expire(self, *, limit: int) -> int:
        return len(await self.engine.write(lambda: one("expire", limit=limit, fallback=self.fallback)))


def _events(tenant: TenantPk, client_id: str) -> Work[list[EventView] | None]:
    whose = {"tenant": tenant, "client_id": client_id}
    (known, found) = yield (Step("message_known", whose), Step("events", whose))
    if not known:
        return None
    return [
        EventView(event_id, EventType(kind), at, EventDetail.from_json(detail), bool(reported))
        for event_id, kind, at, detail, reported in found
    ]


def _cancel(tenant: TenantPk, client_id: str, fallback: bool) -> Work[State | None]:
    whose = {"tenant": tenant, "client_id": client_id}
    (cancelled,) = yield (Step("cancel", whose | {"fallback": fallback}),)
    if cancelled:
        return State.CANCELLED
    (known,) = yield (Step("message_known", whose),)
    if not known:
        return None
    status = Status(known[0][1])
    return State.SENDING if status is Status.QUEUED else State[status.name]
