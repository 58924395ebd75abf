"""A tenant's sync endpoint: takes delivery reports over HTTP and writes them down before it answers.

The far end of the demo and of the tests: what its log holds is what a tenant was told.
"""

import asyncio
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_HEAD_LIMIT = 64 * 1024
_ENOUGH = b'{"ok":true}'


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came; `headers` have lower-case names."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Callback:
    """One line of the log: when (`t`), to which path, with which headers, and the items reported."""

    t: float
    path: str
    headers: Mapping[str, str]
    items: tuple[Mapping[str, Any], ...]


def read_callbacks(path: Path) -> list[Callback]:
    """The calls of a log that may still be growing; a torn last line is not one yet."""
    lines = (json.loads(line) for line in path.read_bytes().split(b"\n")[:-1])
    return [
        Callback(line["t"], line["path"], line["headers"], tuple(line["body"]["delivery_report"]))
        for line in lines
    ]


class Endpoint:
    """Listens on `host:port` (0 = any free port) and appends each body to `log`."""

    def __init__(self, log: Path, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.log = log
        self.host = host
        self.port = port
        self._fd = -1
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        self._fd = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._server = await asyncio.start_server(
            self._serve, self.host, self.port, limit=_HEAD_LIMIT, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()
        os.close(self._fd)

    def calls(self) -> list[Callback]:
        return read_callbacks(self.log)

    async def answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Answer a logged request; False ends the connection."""
        reply(writer, 200, _ENOUGH)
        return True

    def record(self, request: Request) -> None:
        line = {
            "t": time.time(),
            "path": request.path,
            "headers": dict(request.headers),
            "body": json.loads(request.body),
        }
        os.write(self._fd, json.dumps(line).encode() + b"\n")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                while await self._exchange(reader, writer):
                    await writer.drain()
        finally:
            self._serving.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await read_request(reader)
        self.record(request)
        return await self.answer(request, writer)


async def read_request(reader: asyncio.StreamReader) -> Request:
    """One HTTP/1.1 request (RFC 9112 §2.1) with a Content-Length, the only kind the reporter sends."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    start, *lines = head.rstrip("\r\n").split("\r\n")
    method, path, _ = start.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)


def reply(
    writer: asyncio.StreamWriter, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> None:
    """Write a whole response (RFC 9112 §4)."""
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body))} | dict(headers or {})
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{k}: {v}" for k, v in fields.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
