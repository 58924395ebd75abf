"""Tenants with endpoints of their own, and reporters that call them."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from mailproxy.figures import SyncStanding
from mailproxy.model import Priority, TenantPk
from mailproxy.records import NewMessage, TenantWrite
from mailproxy.store import Store
from tests.support.tenant import Endpoint, Manners
from workers.reporter.answer import Pace
from workers.reporter.callback import Caller
from workers.reporter.loop import Reporter, Terms

TERMS = Terms(
    interval=600.0,
    beat=0.2,
    lease=2.0,
    turn=2.0,
    patience=0.2,
    slowest=0.1,
    pace=Pace(first=0.2, longest=0.4, longest_alone=0.4, floor=0.3),
)


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], within: float = 15.0) -> None:
    """Wait for a condition; the only way in which these tests wait."""
    ends_at = time.monotonic() + within
    while True:
        met = condition()
        if (await met) if isinstance(met, Awaitable) else met:
            return
        assert time.monotonic() < ends_at, "the condition was never met"
        await asyncio.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Customer:
    """A tenant with its endpoint."""

    pk: TenantPk
    id: str
    endpoint: Endpoint
    store: Store

    async def happens(self, *client_ids: str) -> None:
        """An event for each id: a message refused at the door is recorded and reported."""
        await self.store.queue.enqueue(
            {self.pk: [NewMessage(c, None, Priority.MEDIUM, "{}", rejected=f"no {c}") for c in client_ids]}
        )

    async def waiting(self) -> list[str]:
        return [r.client_id for r in await self.store.reports.pending(self.pk, 5000)]

    async def standing(self) -> SyncStanding:
        found = await self.store.reports.standings(after=None, limit=500)
        return next(one for one in found if one.tenant_id == self.id)

    async def is_told_everything(self) -> bool:
        return (await self.standing()).pending == 0

    def told(self) -> list[str]:
        return [str(item["id"]) for item in self.endpoint.items()]

    def event_ids(self) -> list[int]:
        return [int(item["event_id"]) for item in self.endpoint.items()]


SignUp = Callable[..., Awaitable[Customer]]


@pytest.fixture
async def sign_up(store: Store, tmp_path: Path) -> AsyncIterator[SignUp]:
    """Make a tenant: `await sign_up("acme", Manners(status=500), report_strict=True)`."""
    async with AsyncExitStack() as stack:

        async def make(name: str, *script: Manners, **fields: Any) -> Customer:
            endpoint = await stack.enter_async_context(Endpoint(tmp_path / f"{name}.calls", script))
            write = replace(TenantWrite(name, client_base_url=endpoint.url), **fields)
            await store.directory.put_tenant(write, None, None)
            tenant = await store.directory.tenant(name)
            assert tenant is not None
            return Customer(tenant.pk, name, endpoint, store)

        yield make


@dataclass(slots=True)
class Running:
    """A reporter at work; `exit_code` waits for its end."""

    reporter: Reporter
    stopping: asyncio.Event
    task: asyncio.Task[int | None]

    async def exit_code(self) -> int | None:
        return await asyncio.wait_for(self.task, 15)


@asynccontextmanager
async def reporting(store: Store, terms: Terms = TERMS, drain: float = 0.0) -> AsyncIterator[Running]:
    caller = Caller(await store.fleet.instance(), total=4.0, connections=512)
    epoch = await store.fleet.register(f"reporter-{uuid4()}", "node", "reporter")
    stopping = asyncio.Event()
    reporter = Reporter(store, caller, epoch, terms)
    running = Running(reporter, stopping, asyncio.create_task(reporter.run(stopping, lambda: drain)))
    try:
        yield running
    finally:
        stopping.set()
        await running.exit_code()
        await caller.aclose()
