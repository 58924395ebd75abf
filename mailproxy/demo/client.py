"""A client of the REST API over one kept connection: the least that the demo and the load driver need."""

import asyncio
import json
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from mailproxy.errors import MailproxyError

_HEAD_LIMIT = 64 * 1024


class CallRefused(MailproxyError):
    """The server answered with something else than 2xx."""


class Client:
    """Calls `url` with `token`, one call after the other."""

    def __init__(self, url: str, token: str) -> None:
        self._address = urlsplit(url)
        self._fixed = f"Host: {self._address.netloc}\r\nX-API-Token: {token}\r\n"
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(
            self._address.hostname, self._address.port, limit=_HEAD_LIMIT
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def request(self, method: str, path: str, body: Any = None) -> bytes:
        """The bytes of a request, for `send`."""
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\n{self._fixed}Content-Length: {len(content)}\r\n"
        return f"{head}Content-Type: application/json\r\n\r\n".encode("ascii") + content

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """The decoded answer; raises CallRefused unless it is 2xx."""
        status, answer = await self.send(self.request(method, path, body))
        if not 200 <= status < 300:
            raise CallRefused(f"{method} {path} answered {status}: {answer.decode('utf-8', 'replace')}")
        return json.loads(answer)

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to a whole request (RFC 9112 §4, with a Content-Length)."""
        assert self._reader is not None
        assert self._writer is not None
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, _, fields = head.partition("\r\n")
        _, _, length = fields.lower().partition("content-length:")
        return int(status.split(" ", 2)[1]), await self._reader.readexactly(int(length.split("\r\n", 1)[0]))
