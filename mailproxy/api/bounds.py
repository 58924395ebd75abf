"""What a request's body may be: its size, its encoding, and how long it may stall."""

import asyncio
from dataclasses import dataclass
from typing import Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mailproxy.api.refusals import Refusal
from mailproxy.model import Seconds

_SMALL = 65536


@dataclass(frozen=True, slots=True)
class Bounds:
    """`max_body` in octets. A body may pause `stall` seconds; what a refused client still sends is read and
    thrown away for `linger` seconds, so that it gets to read its answer."""

    max_body: int
    stall: Seconds = 30.0
    linger: Seconds = 2.0


class BodyBounds:
    """ASGI middleware that holds every request to `Bounds`; refusals are raised where the body is read."""

    def __init__(self, app: ASGIApp, bounds: Bounds) -> None:
        self._app = app
        self._bounds = bounds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        exchange = _Body(self._bounds, scope, receive, send)
        return await self._app(scope, exchange.receive, exchange.send)


class _Body:
    """The body of one request, counted while it is read."""

    def __init__(self, bounds: Bounds, scope: Scope, receive: Receive, send: Send) -> None:
        self._bounds = bounds
        self._receive = receive
        self._send = send
        self._length, self._encoding, chunked = _announced(scope)
        self._read = 0
        self._state: Literal["unread", "reading", "read"] = "unread" if self._length or chunked else "read"
        self._closing = False

    async def receive(self) -> Message:
        if self._state == "read":
            return await self._receive()
        if self._encoding:
            raise Refusal(415, "Send the body without Content-Encoding", "unsupported_encoding")
        self._check_size(self._length or 0)
        self._state = "reading"
        try:
            async with asyncio.timeout(self._bounds.stall):
                message = await self._receive()
        except TimeoutError:
            raise Refusal(408, "The body stopped arriving", "body_timeout") from None
        self._note(message)
        self._check_size(self._read)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self._state != "read":
            message = await self._before_answer(message)
        if self._closing and message["type"] == "http.response.body" and not message.get("more_body"):
            await self._send({**message, "more_body": True})
            await self._discard(self._bounds.linger)
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _before_answer(self, start: Message) -> Message:
        """A short body nobody read is swallowed and the connection kept; any other one closes it."""
        if self._state == "unread" and self._length and self._length <= _SMALL:
            await self._discard(self._bounds.linger)
        if self._state == "read":
            return start
        self._closing = True
        return {**start, "headers": [*start.get("headers", ()), (b"connection", b"close")]}

    async def _discard(self, seconds: Seconds) -> None:
        try:
            async with asyncio.timeout(seconds):
                while self._state != "read":
                    self._note(await self._receive())
        except TimeoutError:
            return

    def _note(self, message: Message) -> None:
        self._read += len(message.get("body", b""))
        if not message.get("more_body"):
            self._state = "read"

    def _check_size(self, octets: int) -> None:
        if octets > self._bounds.max_body:
            raise Refusal(413, f"The body is larger than {self._bounds.max_body} octets", "body_too_large")


def _announced(scope: Scope) -> tuple[int | None, bool, bool]:
    """Content-Length, whether the content is encoded, and whether it comes in chunks."""
    length, encoded, chunked = None, False, False
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = int(value)
        elif name == b"content-encoding":
            encoded = value.strip().lower() not in (b"", b"identity")
        elif name == b"transfer-encoding":
            chunked = True
    return length, encoded, chunked
