"""A tenant with an account, and senders that claim from it: the words the conformance tests speak in."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from mailproxy.config import Database, Settings
from mailproxy.model import (
    AccountPk,
    Epoch,
    EventDetail,
    EventType,
    MessageId,
    Priority,
    State,
    Status,
    TenantPk,
)
from mailproxy.records import (
    AccountWrite,
    Claimed,
    Finish,
    NewMessage,
    Recovered,
    Release,
    Settled,
    TenantWrite,
)
from sql.store import SqlStore

pytest.register_assert_rewrite(*(f"tests.sql.queue_{part}" for part in ("watched", "sending", "outside")))

NODE, ELSEWHERE = "node-1", "node-2"
TTL = 600.0
NOW = -0.001  # a lease of this length has ended when it is taken


@dataclass(frozen=True)
class Sender:
    """A registered process holding a slot of the account."""

    store: SqlStore
    account: AccountPk
    epoch: Epoch
    slot: int = 0

    async def claim(self, limit: int = 50) -> tuple[Claimed, ...]:
        return (await self.store.queue.claim(self.account, self.slot, epoch=self.epoch, limit=limit)).messages

    async def intend(self, *messages: Claimed, limited: bool = False) -> frozenset[MessageId]:
        return await self.store.queue.intend(self.epoch, [m.id for m in messages], limited=limited)

    async def authorised(self, limit: int = 50) -> tuple[Claimed, ...]:
        claimed = await self.claim(limit)
        assert await self.intend(*claimed) == {m.id for m in claimed}
        return claimed

    async def settle(self, *settlements: Finish | Release) -> Settled:
        return await self.store.queue.settle(
            self.epoch,
            [one for one in settlements if isinstance(one, Finish)],
            [one for one in settlements if isinstance(one, Release)],
        )

    async def recover(self, *, node: str = NODE, grace: float = 60.0, poison_after: int = 3) -> Recovered:
        return await self.store.queue.recover(
            self.account, epoch=self.epoch, node=node, foreign_grace=grace, poison_after=poison_after
        )

    async def lose_lease(self) -> None:
        """Let it end as it would for a process that is stopped: without a word."""
        assert await self.store.queue.renew_leases(self.epoch, [self.account], NOW)


def sent(message: Claimed, *, late: bool = False) -> Finish:
    detail = EventDetail(attempt=message.attempt, code=250, late=late)
    return Finish(
        message.id, message.revision, message.attempt, message.claim, Status.SENT, EventType.SENT, detail
    )


def failed(message: Claimed, error: str = "(550, 'no') (SMTP 550)") -> Finish:
    detail = EventDetail(attempt=message.attempt, error=error, code=550)
    return Finish(
        message.id, message.revision, message.attempt, message.claim, Status.ERROR, EventType.ERROR, detail
    )


def unknown(message: Any) -> Finish:
    return Finish(
        message.id,
        message.revision,
        message.attempt,
        message.claim,
        Status.UNKNOWN,
        EventType.UNKNOWN,
        EventDetail(error="?"),
    )


def back(message: Any, **changes: Any) -> Release:
    return Release(message.id, message.revision, message.attempt, message.claim, **changes)


@dataclass(frozen=True)
class World:
    store: SqlStore
    tenant: TenantPk
    account: AccountPk

    def message(self, client_id: str, **changes: Any) -> NewMessage:
        changes = {"priority": Priority.MEDIUM, "payload": "{}", "account_pk": self.account} | changes
        return NewMessage(
            client_id, changes.pop("account_pk"), changes.pop("priority"), changes.pop("payload"), **changes
        )

    async def post(self, *client_ids: str, **changes: Any) -> list[MessageId]:
        found = await self.store.queue.enqueue(
            {self.tenant: [self.message(id_, **changes) for id_ in client_ids]}
        )
        ids = [one.message_id for one in found]
        assert all(one.refused is None for one in found)
        return [id_ for id_ in ids if id_ is not None]

    async def process(self, owner: str, *, node: str = NODE, role: str = "sender") -> Epoch:
        return await self.store.fleet.register(owner, node, role)

    async def sender(
        self,
        owner: str = "first",
        *,
        node: str = NODE,
        slot: int = 0,
        account: AccountPk | None = None,
        succeeds: Sequence[str] = (),
    ) -> Sender:
        epoch = await self.process(owner, node=node)
        account = account or self.account
        assert await self.store.queue.take_lease(account, slot, epoch=epoch, ttl=TTL, succeeds=succeeds)
        return Sender(self.store, account, epoch, slot)

    async def state(self, client_id: str) -> State | None:
        found = await self.store.directory.message(self.tenant, client_id)
        return found and found.state

    async def events(self, client_id: str) -> list[EventType]:
        found = await self.store.directory.events(self.tenant, client_id)
        assert found is not None
        return [event.event_type for event in found]

    async def add_account(self, id_: str, tenant: TenantPk | None = None, **changes: Any) -> AccountPk:
        wanted = AccountWrite(id=id_, host="127.0.0.1", port=25, **changes)
        return await self.store.directory.put_account(tenant or self.tenant, wanted)

    async def add_tenant(self, id_: str, **changes: Any) -> TenantPk:
        await self.store.directory.put_tenant(TenantWrite(id=id_, **changes), None, None)
        found = await self.store.directory.tenant(id_)
        assert found is not None
        return found.pk


@pytest.fixture
async def world(store: SqlStore) -> World:
    await store.directory.put_tenant(TenantWrite(id="acme", client_base_url="http://127.0.0.1:1"), None, None)
    tenant = await store.directory.tenant("acme")
    assert tenant is not None
    account = await store.directory.put_account(tenant.pk, AccountWrite(id="main", host="127.0.0.1", port=25))
    return World(store, tenant.pk, account)


Sql = Callable[..., list[tuple[Any, ...]]]


def run_sql(database: Database, statement: str, *params: object) -> list[tuple[Any, ...]]:
    """A statement of the test's own, beside the store; `?` marks a parameter in both dialects."""
    if database.kind == "postgres":
        with psycopg.connect(database.url, autocommit=True) as postgres:
            cursor = postgres.execute(statement.replace("?", "%s").encode(), params)
            return cursor.fetchall() if cursor.description else []
    assert database.path is not None
    sqlite = sqlite3.connect(database.path, isolation_level=None)
    try:
        return sqlite.execute(statement, params).fetchall()
    finally:
        sqlite.close()


@pytest.fixture
def sql(settings: Settings) -> Sql:
    return lambda statement, *params: run_sql(settings.database, statement, *params)
