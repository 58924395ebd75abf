"""The two ways to do what a call asks for: in this thread, or in this event loop."""

import asyncio
import ssl
import time
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from mailproxy import __version__
from mailproxy.client.exchange import Context, NoReply, Pause, Reply, Request, Steps
from mailproxy.client.patience import Patience
from mailproxy.model import Seconds

T = TypeVar("T")

DEFAULT_URL = "http://localhost:8000"

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
# Shorter than servers keep idle connections, so that none is found closed.
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=2.0)


class Connection:
    """What both clients have: where the server is, whom they work for, how patient they are."""

    def __init__(
        self, url: str, token: str | None, name: str | None, tenant_id: str | None, patience: Patience | None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an http:// or https:// address")
        self.url = url.rstrip("/")
        self.name = name or parts.netloc.rpartition("@")[2]
        self.tenant_id = tenant_id
        self.context = Context(tenant_id, patience or Patience())
        self._headers = {"Accept": "application/json", "User-Agent": f"mailproxy-client/{__version__}"}
        if token:
            self._headers["X-API-Token"] = token

    def __repr__(self) -> str:
        tenant = f", tenant_id={self.tenant_id!r}" if self.tenant_id else ""
        return f"<{type(self).__name__} {self.url}{tenant}>"

    def _options(self, timeout: Seconds, verify: ssl.SSLContext | bool) -> dict[str, Any]:
        is_encrypted = urlsplit(self.url).scheme == "https"
        return {
            # To read all authorities takes 25 ms, and nobody asks them about a connection without TLS.
            "verify": verify if is_encrypted else False,
            "headers": self._headers,
            "timeout": httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            "limits": _LIMITS,
        }

    def _arguments(self, request: Request) -> dict[str, Any]:
        headers = dict(request.headers)
        if request.content is not None:
            headers["Content-Type"] = "application/json"
        return {
            "method": request.method,
            "url": self.url + request.path,
            "params": request.parameters,
            "content": request.content,
            "headers": headers,
        }


class BlockingConnection(Connection):
    """Close it with `close`, or use it as a context manager; threads may share it."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        token: str | None = None,
        name: str | None = None,
        tenant_id: str | None = None,
        *,
        timeout: Seconds = 30.0,
        patience: Patience | None = None,
        verify: ssl.SSLContext | bool = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(url, token, name, tenant_id, patience)
        self._http = httpx.Client(transport=transport, **self._options(timeout, verify))

    def run(self, steps: Steps[T]) -> T:
        """Do what the call asks for, one thing after the other."""
        reply: Reply | NoReply | None = None
        while True:
            try:
                wanted = steps.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            reply = None
            if isinstance(wanted, Pause):
                time.sleep(wanted.seconds)
            else:
                reply = self._exchange(wanted)

    def _exchange(self, request: Request) -> Reply | NoReply:
        try:
            return _reply(self._http.request(**self._arguments(request)))
        except httpx.RequestError as error:
            return _no_reply(error)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def to_application(app: Any) -> httpx.AsyncBaseTransport:
    """A transport to an ASGI application in this process: no socket, no server."""
    return httpx.ASGITransport(app, client=("local", 0))


class AsyncConnection(Connection):
    """Close it with `aclose`, or use it as an asynchronous context manager; tasks of one loop may share it."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        token: str | None = None,
        name: str | None = None,
        tenant_id: str | None = None,
        *,
        timeout: Seconds = 30.0,
        patience: Patience | None = None,
        verify: ssl.SSLContext | bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(url, token, name, tenant_id, patience)
        self._http = httpx.AsyncClient(transport=transport, **self._options(timeout, verify))

    async def run(self, steps: Steps[T]) -> T:
        """Do what the call asks for, one thing after the other."""
        reply: Reply | NoReply | None = None
        while True:
            try:
                wanted = steps.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            reply = None
            if isinstance(wanted, Pause):
                await asyncio.sleep(wanted.seconds)
            else:
                reply = await self._exchange(wanted)

    async def _exchange(self, request: Request) -> Reply | NoReply:
        try:
            return _reply(await self._http.request(**self._arguments(request)))
        except httpx.RequestError as error:
            return _no_reply(error)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _reply(response: httpx.Response) -> Reply:
    return Reply(response.status_code, dict(response.headers), response.content)


def _no_reply(error: httpx.RequestError) -> NoReply:
    cause = f"{type(error).__name__}: {error}".removesuffix(": ")
    return NoReply(cause, sent=not isinstance(error, _NEVER_SENT))
