"""A tenant with one account whose server is a sink, and senders to serve it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count

from mailproxy import payload
from mailproxy.config import Settings
from mailproxy.model import AccountPk, Priority, State, TenantPk
from mailproxy.records import AccountWrite, EventView, MessageFilter, MessageView, NewMessage, TenantWrite
from sql.store import SqlStore
from workers.control import AccountSlot
from workers.frame import Life
from workers.sender import loop
from workers.sender.connect import Timeouts
from workers.watermark import QUICK

OWNERS = count(1)


@dataclass
class World:
    store: SqlStore
    settings: Settings
    tenant: TenantPk
    account: AccountPk
    write: AccountWrite
    _ids: count = field(default_factory=lambda: count(1))

    async def post(
        self, *recipients: str, n: int = 1, priority: Priority = Priority.MEDIUM, **fields: object
    ) -> list[str]:
        """Accept `n` messages; returns their ids. `content` adds to the payload's fields."""
        content = fields.pop("content", {})
        assert isinstance(content, dict)
        ids = [f"m{next(self._ids)}" for _ in range(n)]
        to = list(recipients or ("bob@example.com",))
        items = [
            NewMessage(
                client_id=id_,
                account_pk=self.account,
                priority=priority,
                payload=payload.encode(
                    {"id": id_, "from": "alice@example.org", "to": to, "subject": id_, "body": "hello"}
                    | content
                ),
                **fields,  # type: ignore[arg-type]
            )
            for id_ in ids
        ]
        await self.store.queue.enqueue({self.tenant: items})
        return ids

    async def change_account(self, **changes: object) -> None:
        self.write = replace(self.write, **changes)  # type: ignore[arg-type]
        await self.store.directory.put_account(self.tenant, self.write)

    async def view(self, client_id: str) -> MessageView:
        found = await self.store.directory.message(self.tenant, client_id)
        assert found is not None
        return found

    async def states(self) -> dict[str, State]:
        views = await self.store.directory.messages(
            self.tenant, MessageFilter(include_payload=False), after=None, limit=5000
        )
        return {view.client_id: view.state for view in views}

    async def events(self, client_id: str) -> list[EventView]:
        found = await self.store.directory.events(self.tenant, client_id)
        assert found is not None
        return found

    async def until(
        self, condition: Callable[[dict[str, State]], bool], seconds: float = 20.0
    ) -> dict[str, State]:
        """Wait until all messages' states satisfy `condition`."""
        async with asyncio.timeout(seconds):
            while not condition(states := await self.states()):
                await asyncio.sleep(0.02)
        return states

    async def all_in(self, *wanted: State, seconds: float = 20.0) -> None:
        await self.until(lambda states: set(states.values()) <= set(wanted), seconds)

    @asynccontextmanager
    async def sender(
        self,
        *,
        slot: int = 0,
        timeouts: Timeouts | None = None,
        at: Callable[[str], None] = lambda _step: None,
        quick: float = QUICK,
        succeeds: tuple[str, ...] = (),
        more: tuple[AccountSlot, ...] = (),
    ) -> AsyncIterator[Life]:
        """A sender in this process, stopped gracefully at the end."""
        life = Life(
            settings=self.settings,
            role="sender",
            number=1,
            owner=f"test/sender.{next(OWNERS)}",
            succeeds=succeeds,
            assigned=((self.account, slot), *more),
        )
        task = asyncio.create_task(loop.entry(life, timeouts=timeouts, at=at, quick=quick))
        try:
            yield life
        finally:
            life.stop(5.0)
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def make_world(store: SqlStore, settings: Settings, port: int, **account: object) -> World:
    await store.directory.put_tenant(TenantWrite(id="acme", client_base_url="http://127.0.0.1:9"), None, None)
    tenant = await store.directory.tenant("acme")
    assert tenant is not None
    write = AccountWrite(id="main", host="127.0.0.1", port=port, use_tls=False, **account)  # type: ignore[arg-type]
    pk = await store.directory.put_account(tenant.pk, write)
    return World(store, settings, tenant.pk, pk, write)


def details(events: list[EventView]) -> list[tuple[str, object]]:
    return [(str(event.event_type), json.loads(event.detail.to_json())) for event in events]
