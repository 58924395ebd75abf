"""An API on a real socket over each database, and clients with the admin's or a tenant's token."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from mailproxy.api.app import build
from mailproxy.api.bounds import Bounds
from mailproxy.api.connection import BoundedProtocol
from mailproxy.config import Settings
from mailproxy.store import Store
from tests.api import documented

ADMIN = "admin-token"


@asynccontextmanager
async def listening(
    app: ASGIApp, protocol: type[BoundedProtocol] = BoundedProtocol
) -> AsyncIterator[tuple[int, ServerState]]:
    """The port on which `app` answers, over uvicorn's protocol and our connections, and what is open."""
    config = uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(config, state, {}, loop), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], state
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.gather(*state.tasks, return_exceptions=True)
        await server.wait_closed()


@dataclass
class Api:
    """`admin` speaks with the admin token; `as_tenant` makes a tenant and speaks with its key."""

    port: int
    server: ServerState
    store: Store
    stack: AsyncExitStack
    admin: httpx.AsyncClient = field(init=False)

    async def client(self, token: str | None = None, **headers: str) -> httpx.AsyncClient:
        if token is not None:
            headers["X-API-Token"] = token
        client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}",
            headers=headers,
            trust_env=False,
            verify=False,  # there is no TLS, and to read all authorities takes 25 ms
            event_hooks={"response": [documented.check]},
        )
        return await self.stack.enter_async_context(client)

    async def tenant(self, tenant_id: str = "acme", account: str | None = "main", **fields: Any) -> str:
        """A new tenant, with an account unless None; its key."""
        made = await self.admin.post("/tenant", json={"id": tenant_id, **fields})
        assert made.status_code == 200, made.text
        if account is not None:
            await self.account(tenant_id, account)
        return str(made.json()["api_key"])

    async def account(self, tenant_id: str, account_id: str = "main", **fields: Any) -> None:
        account = {"id": account_id, "tenant_id": tenant_id, "host": "127.0.0.1", "port": 25, **fields}
        made = await self.admin.post("/account", json=account)
        assert made.status_code == 200, made.text

    async def as_tenant(self, tenant_id: str = "acme", account: str | None = "main") -> httpx.AsyncClient:
        return await self.client(await self.tenant(tenant_id, account))

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.stack.callback(writer.close)
        return reader, writer


def message(identity: str = "m1", **fields: Any) -> dict[str, Any]:
    plain = {
        "id": identity,
        "account_id": "main",
        "from": "a@example.com",
        "to": "b@example.org",
        "subject": "Hi",
    }
    return plain | fields


@asynccontextmanager
async def api_on(
    settings: Settings,
    store: Store,
    *,
    bounds: Bounds | None = None,
    protocol: type[BoundedProtocol] = BoundedProtocol,
) -> AsyncIterator[Api]:
    app = build(settings, store, node="here", bounds=bounds)
    async with AsyncExitStack() as stack:
        port, server = await stack.enter_async_context(listening(app, protocol))
        api = Api(port, server, store, stack)
        api.admin = await api.client(ADMIN)
        yield api


@pytest.fixture
async def api(settings: Settings, store: Store) -> AsyncIterator[Api]:
    async with api_on(settings, store) as running:
        yield running


async def heard(store: Store, topics: set[str], act: Callable[[], Awaitable[object]]) -> None:
    """Repeat `act` until all `topics` were announced: a listener that just began may miss the first."""
    missing = set(topics)

    async def listen() -> None:
        async with store.wakeups.listen() as announced:
            async for topic in announced:
                missing.discard(topic)

    listener = asyncio.create_task(listen())
    try:
        while missing:
            await act()
            await asyncio.sleep(0.02)
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


def free_socket() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener
