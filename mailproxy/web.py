"""HTTP to whoever it is: the module that knows httpx and httpcore.

Cut off by `asyncio.timeout` in a TLS handshake, httpx leaves the socket to the collector: its own, shorter
deadline for connecting closes it.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpcore
import httpx

from mailproxy import egress
from mailproxy.model import Seconds
from mailproxy.reach import Forbidden, Reach

KEPT: Seconds = 2.0


@dataclass(frozen=True, slots=True)
class Answered:
    """`headers` have lower-case names; `truncated`: the body went on after what was read of it."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No complete answer came; `cause` quotes no header. `forbidden`: nobody was asked, for the target is out of
    bounds; `timed_out`: the deadline passed."""

    cause: str
    forbidden: bool = False
    timed_out: bool = False


class Web:
    """The HTTP client of a process: it keeps connections and no cookies, and follows no redirect.

    Guarded and unguarded calls never share a connection. `connections` limits each kind;
    `authorities` (PEM) are trusted instead of the usual ones; `advice` words why a target is out of bounds.
    """

    def __init__(
        self,
        reach: Reach,
        *,
        connect: Seconds,
        connections: int = 64,
        authorities: str | None = None,
        advice: Callable[[str], str] = egress.advice,
    ) -> None:
        self._reach = reach
        self._connect = connect
        self._connections = connections
        self._authorities = authorities
        self._advice = advice
        self._clients: dict[bool, httpx.AsyncClient] = {}

    async def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        guarded: bool,
        within: Seconds,
        most: int,
    ) -> Answered | Unanswered:
        """One request with its answer, of which `most` bytes are read; every failure is a value."""
        content = bytearray()
        found = await self.receive(
            method,
            url,
            headers=headers,
            body=body,
            guarded=guarded,
            within=within,
            most=most,
            wanted=lambda _: True,
            take=content.extend,
        )
        return found if isinstance(found, Unanswered) else replace(found, body=bytes(content))

    async def receive(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        guarded: bool,
        within: Seconds,
        most: int,
        wanted: Callable[[Answered], bool],
        take: Callable[[bytes], None],
    ) -> Answered | Unanswered:
        """`exchange` whose content goes to `take` as it comes, `most` bytes of it at most, if its head is `wanted`.

        An OSError of `take` ends the exchange and is raised.
        """
        if fault := _fault(url):
            return Unanswered(fault, forbidden=True)
        client = self._client(guarded)
        try:
            async with (
                asyncio.timeout(within),
                client.stream(method, url, content=body, headers=headers) as response,
            ):
                head = Answered(response.status_code, dict(response.headers), b"")
                return replace(head, truncated=wanted(head) and await _read(response, most, take))
        except TimeoutError:
            return Unanswered(f"no complete answer within {within:g} s", timed_out=True)
        except _OutOfBounds as error:
            return Unanswered(str(error), forbidden=True)
        except _Taking as error:
            raise error.cause from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
            return Unanswered(_cause(error), timed_out=isinstance(error, httpx.TimeoutException))

    def _client(self, guarded: bool) -> httpx.AsyncClient:
        """Made when it is first needed: what is trusted takes some megabytes, and most processes ask nobody."""
        if guarded not in self._clients:
            dialler = _Dialler(self._reach, guarded, self._advice)
            transport = _Transport(dialler, self._trust(), self._connections)
            self._clients[guarded] = _client(transport, self._connect)
        return self._clients[guarded]

    def _trust(self) -> ssl.SSLContext:
        if self._authorities is not None:
            return ssl.create_default_context(cadata=self._authorities)
        return _public()

    async def aclose(self) -> None:
        for client in self._clients.values():
            await client.aclose()


@cache
def _public() -> ssl.SSLContext:
    """Once in a process: to read all authorities takes 25 ms."""
    return httpx.create_ssl_context(trust_env=False)


def _client(transport: httpx.AsyncBaseTransport, connect: Seconds) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        headers={"Accept-Encoding": "identity"},
        timeout=httpx.Timeout(None, connect=connect),
        trust_env=False,
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        transport=transport,
    )


class _OutOfBounds(Exception):
    """The target may not be connected to."""


class _Taking(Exception):
    """Whoever takes content could not."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _Dialler(httpcore.AsyncNetworkBackend):
    """Connects to the addresses that were judged; TLS above it still verifies the name."""

    def __init__(self, reach: Reach, guarded: bool, advice: Callable[[str], str]) -> None:
        self._reach = reach
        self._guarded = guarded
        self._advice = advice
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                found = await self._reach.addresses(host, port, guarded=self._guarded)
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"{host} was not resolved in time") from None
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host}: {error}") from error
        if isinstance(found, Forbidden):
            raise _OutOfBounds(self._advice(found.reason))
        each = None if timeout is None else timeout / len(found)
        failure: Exception = httpcore.ConnectError(f"{host}: no address")
        for address in found:
            try:
                return await self._network.connect_tcp(address, port, each, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


class _Transport(httpx.AsyncBaseTransport):
    """httpx over a pool that dials our way: its own transport takes no network backend."""

    def __init__(self, dialler: _Dialler, trust: ssl.SSLContext, connections: int) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trust,
            max_connections=connections,
            keepalive_expiry=KEPT,
            network_backend=dialler,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        with _translated():
            answer = await self._pool.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(
                        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer))

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated():
            async for part in self._answer.aiter_stream():
                yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


@contextmanager
def _translated() -> Iterator[None]:
    """The errors of both libraries have the same names."""
    try:
        yield
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error
    except httpcore.UnsupportedProtocol as error:
        raise httpx.UnsupportedProtocol(str(error)) from error


async def _read(response: httpx.Response, most: int, take: Callable[[bytes], None]) -> bool:
    """Whether there was more than `most`."""
    left = most
    async for chunk in response.aiter_raw():
        _taken(take, chunk[:left])
        left -= len(chunk)
        if left < 0:
            return True
    return False


def _taken(take: Callable[[bytes], None], chunk: bytes) -> None:
    try:
        take(chunk)
    except OSError as error:
        raise _Taking(error) from error


def _fault(url: str) -> str | None:
    """What keeps a URL from being called at all; httpx would connect to port 99999 and raise a group."""
    try:
        parts = httpx.URL(url)
        usable = parts.scheme in ("http", "https") and bool(parts.host)
    except (httpx.InvalidURL, UnicodeError):
        usable = False
    if not usable:
        return "the URL is not an http:// or https:// address"
    return None if (parts.port or 80) <= 65535 else "the URL's port is not below 65536"


def _cause(error: Exception) -> str:
    """Only a transport's own words: other errors quote headers, and those hold secrets."""
    if isinstance(error, httpx.TransportError | OSError) and not isinstance(error, httpx.LocalProtocolError):
        return f"{type(error).__name__}: {error}"[:300]
    return type(error).__name__
