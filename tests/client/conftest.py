"""Both clients against a served API, and against a server that answers by a script."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from mailproxy.client import AsyncMailProxyClient, MailProxyClient, Patience
from mailproxy.config import Settings
from mailproxy.demo.endpoint import Request, read_request, reply
from mailproxy.store import Store
from tests.api.conftest import ADMIN, Api, api_on

SOON = Patience(first=0.001, longest=5.0)


@dataclass
class Twin:
    """One of the two clients; `do` makes a call with it, whichever it is."""

    client: Any
    is_async: bool

    async def do(self, call: Callable[[Any], Any]) -> Any:
        return await call(self.client) if self.is_async else await asyncio.to_thread(call, self.client)

    async def close(self) -> None:
        if self.is_async:
            await self.client.aclose()
        else:
            self.client.close()


@pytest.fixture
def dialect() -> str:
    """One database is enough: what a client sees is the same on both."""
    return "sqlite"


@pytest.fixture
async def api(settings: Settings, store: Store) -> AsyncIterator[Api]:
    async with api_on(settings, store) as running:
        yield running


@pytest.fixture(params=[MailProxyClient, AsyncMailProxyClient], ids=["blocking", "async"])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., Twin]]:
    """Makes clients of one kind; the test runs once with each kind."""
    made: list[Twin] = []

    def twin(port: int, token: str | None = ADMIN, **options: Any) -> Twin:
        client = request.param(f"http://127.0.0.1:{port}", token, **{"patience": SOON, **options})
        made.append(Twin(client, request.param is AsyncMailProxyClient))
        return made[-1]

    yield twin
    for one in made:
        await one.close()


@pytest.fixture
async def admin(api: Api, connect: Callable[..., Twin]) -> Twin:
    return connect(api.port, tenant_id="acme")


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: object = None
    headers: Mapping[str, str] | None = None


DROP = None
"""In a script: read the request and close the connection without an answer."""


class Scripted:
    """Answers one request after the other as told, the last way again and again; keeps what it got."""

    def __init__(self, script: list[Answer | None]) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                self.requests.append(await read_request(reader))
                answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                if answer is None:
                    break
                body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                reply(writer, answer.status, body, answer.headers)
                await writer.drain()
        self._open.discard(writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def __aenter__(self) -> "Scripted":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.close()
        await self._server.wait_closed()
        while self._open:
            await asyncio.sleep(0.001)
