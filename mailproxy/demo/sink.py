"""An SMTP server that accepts mail and writes down what it took: the far end of the demo and of the tests.

The log line is written before the reply to the final dot, so the log never holds less than a client was told.
"""

import asyncio
import hashlib
import json
import os
import re
import ssl
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

END_OF_DATA = b"\r\n.\r\n"
SIZE_LIMIT = 64 * 1024 * 1024
_CHUNK = 256 * 1024
_LINE_LIMIT = 64 * 1024
_REFUSING = re.compile(r"(?:refuse|rcpt)(\d{3})")
_DEFERRING = re.compile(r"defer(\d{3})(?:x(\d+))?")
_HEADERS = {
    "id": re.compile(rb"(?im)^X-Genro-Mail-ID:[ \t]*(.*?)\r?$"),
    "message_id": re.compile(rb"(?im)^Message-ID:[ \t]*(.*?)\r?$"),
}


@dataclass(frozen=True, slots=True)
class Delivery:
    """One accepted message: `id` is the client's, `size` and `sha256` are of the unstuffed bytes."""

    t: float
    id: str | None
    message_id: str | None
    sha256: str
    mail_from: str
    rcpts: tuple[str, ...]
    size: int
    session: int


_FIELDS = Delivery.__slots__
_values = attrgetter(*_FIELDS)


def read_log(path: Path) -> list[Delivery]:
    """The deliveries of a log that may still be growing; a torn last line is not one yet."""
    lines = path.read_bytes().split(b"\n")[:-1]
    fields = (json.loads(line) for line in lines)
    return [Delivery(**{**field, "rcpts": tuple(field["rcpts"])}) for field in fields]


class Dialogue:
    """The server's half of one SMTP connection (RFC 5321); replies are gathered while input is buffered."""

    def __init__(
        self, sink: "Sink", reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self.sink = sink
        self.reader = reader
        self.writer = writer
        self.number = number
        self.buffer = bytearray()
        self.replies: list[str] = []
        self.mail_from: str | None = None
        self.rcpts: list[str] = []

    async def run(self) -> None:
        self.replies.append(self.greeting())
        while True:
            line = (await self.line()).decode("utf-8", "replace")
            verb, _, argument = line.partition(" ")
            if not await self.obey(verb.upper(), argument):
                self.flush()
                return

    async def obey(self, verb: str, argument: str) -> bool:
        """Answer one command; False ends the connection."""
        if verb == "DATA" and self.rcpts:
            return await self.data()
        self.replies.append(self.reply_to(verb, argument))
        return verb != "QUIT"

    def greeting(self) -> str:
        return "220 sink.invalid ESMTP"

    def extensions(self) -> list[str]:
        return ["PIPELINING", f"SIZE {SIZE_LIMIT}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]

    def reply_to(self, verb: str, argument: str) -> str:
        match verb:
            case "EHLO":
                self.forget()
                lines = ["250-sink.invalid", *(f"250-{word}" for word in self.extensions()), "250 HELP"]
                reply = "\r\n".join(lines)
            case "HELO" | "RSET" | "NOOP":
                self.forget()
                reply = "250 2.0.0 Ok"
            case "MAIL":
                self.mail_from = _path(argument)
                reply = "250 2.1.0 Ok"
            case "RCPT" if self.mail_from is not None:
                reply = self.recipient(_path(argument))
            case "RCPT":
                reply = "503 5.5.1 Bad sequence of commands"
            case "DATA":
                reply = "554 5.5.1 No valid recipients"
            case "QUIT":
                reply = "221 2.0.0 Bye"
            case _:
                reply = "502 5.5.2 Command not recognised"
        return reply

    def recipient(self, address: str) -> str:
        if refusing := _REFUSING.match(address):
            code = refusing[1]
            return f"{code} {code[0]}.1.1 <{address}>: Recipient address rejected"
        self.rcpts.append(address)
        return "250 2.1.5 Ok"

    async def data(self) -> bool:
        self.replies.append("354 End data with <CR><LF>.<CR><LF>")
        content = await self.content()
        keep_open = await self.received(content)
        self.forget()
        return keep_open

    async def received(self, content: bytes) -> bool:
        """Log a complete message, then reply; False ends the connection."""
        if deferral := self.deferral(content):
            self.replies.append(deferral)
        else:
            self.sink.record(self.delivery(content), content)
            self.replies.append("250 2.0.0 Ok: queued")
        return True

    def deferral(self, content: bytes) -> str | None:
        for address in self.rcpts:
            if deferring := _DEFERRING.match(address):
                code, times = deferring.groups()
                key = (address, header_of(content, "id"))
                self.sink.deferrals[key] += 1
                if times is None or self.sink.deferrals[key] <= int(times):
                    return f"{code} {code[0]}.3.0 Try again later"
        return None

    def delivery(self, content: bytes) -> Delivery:
        return Delivery(
            t=time.time(),
            id=header_of(content, "id"),
            message_id=header_of(content, "message_id"),
            sha256=hashlib.sha256(content).hexdigest(),
            mail_from=self.mail_from or "",
            rcpts=tuple(self.rcpts),
            size=len(content),
            session=self.number,
        )

    def forget(self) -> None:
        self.mail_from = None
        self.rcpts = []

    async def line(self) -> bytes:
        while (end := self.buffer.find(b"\r\n")) < 0:
            if len(self.buffer) > _LINE_LIMIT:
                raise ConnectionAbortedError("command line too long")
            await self.fill()
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        return line

    async def content(self) -> bytes:
        """The message up to the final dot, unstuffed (RFC 5321 §4.5.2)."""
        self.buffer[:0] = b"\r\n"
        searched = 0
        while (end := self.buffer.find(END_OF_DATA, searched)) < 0:
            searched = max(0, len(self.buffer) - len(END_OF_DATA))
            if len(self.buffer) > 2 * SIZE_LIMIT:
                raise ConnectionAbortedError("message too long")
            await self.fill()
        stuffed = bytes(self.buffer[: end + 2])
        del self.buffer[: end + len(END_OF_DATA)]
        return stuffed.replace(b"\r\n.", b"\r\n")[2:]

    async def fill(self) -> None:
        self.flush()
        chunk = await self.reader.read(_CHUNK)
        if not chunk:
            raise ConnectionResetError("client is gone")
        self.buffer += chunk

    def flush(self) -> None:
        if self.replies:
            self.writer.write("\r\n".join([*self.replies, ""]).encode())
            self.replies.clear()


class Sink:
    """Listens on `host:port` (0 = any free port) and appends each accepted message to `log`.

    With `keep`, the bytes of each message are stored as `<sha256>.eml` in that directory.
    """

    dialogue: ClassVar[type[Dialogue]] = Dialogue

    def __init__(
        self, log: Path, *, host: str = "127.0.0.1", port: int = 0, keep: Path | None = None
    ) -> None:
        self.log = log
        self.host = host
        self.port = port
        self.keep = keep
        self.deferrals: Counter[tuple[str, str | None]] = Counter()
        self.opened = 0
        self.listening_tls: ssl.SSLContext | None = None
        self._dialogues: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._fd = -1

    async def __aenter__(self) -> Self:
        self._fd = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._server = await asyncio.start_server(
            self._serve, self.host, self.port, backlog=1024, ssl=self.listening_tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._dialogues:
            task.cancel()
        await asyncio.gather(*self._dialogues, return_exceptions=True)
        await self._server.wait_closed()
        os.close(self._fd)

    def messages(self) -> list[Delivery]:
        return read_log(self.log)

    def record(self, delivery: Delivery, content: bytes) -> None:
        if self.keep is not None:
            (self.keep / f"{delivery.sha256}.eml").write_bytes(content)
        os.write(self._fd, json.dumps(dict(zip(_FIELDS, _values(delivery), strict=True))).encode() + b"\n")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._dialogues.add(task)
        self.opened += 1
        dialogue = self.dialogue(self, reader, writer, self.opened)
        try:
            # Cancelled when the sink stops: asyncio would log that as an error of the connection's.
            with suppress(ConnectionError, TimeoutError, asyncio.CancelledError):
                await dialogue.run()
        finally:
            self._dialogues.discard(task)
            dialogue.writer.close()


def _path(argument: str) -> str:
    """The address of `FROM:<a@b> …` or `TO:<a@b> …`."""
    return argument[argument.find("<") + 1 : argument.rfind(">")]


def header_of(content: bytes, name: str) -> str | None:
    head = content[: content.find(b"\r\n\r\n") + 2]
    found = _HEADERS[name].search(head)
    return found[1].decode("utf-8", "replace").strip() if found else None
