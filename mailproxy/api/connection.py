"""HTTP connections with deadlines of their own: uvicorn waits for ever for a header and for a reader."""

import asyncio
import json
import uuid
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mailproxy.model import Seconds

MAX_HEADER_OCTETS = 65536

_STATUS = {400: b"400 Bad Request", 408: b"408 Request Timeout", 431: b"431 Request Header Fields Too Large"}


class BoundedProtocol(HttpToolsProtocol):
    """Cuts connections that stay silent, do not finish a request header, or do not read their answer."""

    header_deadline: Seconds = 10.0
    reading_deadline: Seconds = 30.0
    linger: Seconds = 2.0
    farewell: Seconds = 0.5

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_timer: asyncio.TimerHandle | None = None
        self._reading_timer: asyncio.TimerHandle | None = None
        self._header_octets = 0
        self._begun = False
        self._refused = False
        self._leaving = False
        self._unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        self._header_complete()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._header_timer is not None:
            self._header_octets += len(data)
        super().data_received(data)
        if self._header_timer is not None and self._header_octets > MAX_HEADER_OCTETS:
            self._refuse(431, "The request header is too large", "header_too_large")

    def on_message_begin(self) -> None:
        self._begun = True
        if self._header_timer is None:
            self._await_header()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._header_complete()
        super().on_headers_complete()
        if self._leaving and self.cycle is not None:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """The server stops: a request that is on its way is waited for, and is the last one."""
        if self._is_idle():
            self._leaving = True
            self.loop.call_later(self.farewell, self._leave)
        else:
            super().shutdown()

    def _leave(self) -> None:
        if self._is_idle() and not self._begun:
            self.transport.close()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.transport.get_write_buffer_size()
        self._reading_timer = self.loop.call_later(self.reading_deadline, self._check_reader)

    def resume_writing(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, msg.rstrip("."), "invalid_http")

    def _await_header(self) -> None:
        self._header_octets = 0
        self._header_timer = self.loop.call_later(self.header_deadline, self._header_late)

    def _header_complete(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
        self._begun = False

    def _header_late(self) -> None:
        if not self._is_idle():
            self._await_header()
        elif self._begun:
            self._refuse(408, "The request header did not arrive in time", "header_timeout")
        else:
            self.transport.close()

    def _check_reader(self) -> None:
        unread = self.transport.get_write_buffer_size()
        if unread >= self._unread:
            self.transport.abort()
            return
        self._unread = unread
        self._reading_timer = self.loop.call_later(self.reading_deadline, self._check_reader)

    def _refuse(self, status: int, detail: str, code: str) -> None:
        self._header_complete()
        body = json.dumps({"detail": detail, "code": code, "request_id": uuid.uuid4().hex}).encode()
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % (
            _STATUS[status],
            len(body),
        )
        self.transport.write(head + b"connection: close\r\n\r\n" + body)
        # Closed at once, the connection would be reset by what still comes, and the answer lost with it.
        self._refused = True
        self.transport.write_eof()
        self.loop.call_later(self.linger, self.transport.close)
