"""SMTP servers with every kind of manners, for tests: `Sink` takes mail, `ScriptedServer` follows a script.

Behaviour by recipient (the start of the local part), beside the plain sink's refuse550, rcpt450, defer451 and
defer451x3: `dropdot` accepted and logged, then the connection closes without a reply; `hangdot` the same but
silent; `cutdot` closes unlogged; `garbledot` accepted, then a reply nobody can parse; `dot554` that code to
the dot; `slow200` that many milliseconds before the reply.
"""

import argparse
import asyncio
import base64
import json
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from mailproxy.demo.sink import SIZE_LIMIT, Delivery, Dialogue, read_log
from mailproxy.demo.sink import Sink as PlainSink

__all__ = ["Delivery", "Manners", "ScriptedServer", "Sink", "read_log", "sink_process"]

_AT_DOT = re.compile(r"dot(\d{3})|slow(\d+)|(dropdot|hangdot|cutdot|garbledot)")
_LENIENT_END = re.compile(rb"(?:\r\n|\n|\r)\.(?:\r\n|\n|\r)")


@dataclass(frozen=True, slots=True)
class Manners:
    """How a server behaves to everybody.

    `hang`, `cut` and `replies` name a stage: connect, ehlo, helo, starttls, auth, mail, rcpt, data, body,
    dot, rset, quit. `cut` closes the connection instead of replying there, `cut_after` after replying.
    `lenient` ends a message at any line end around the dot, as smuggling needs it.
    """

    greeting: str = "220 sink.invalid ESMTP"
    hang: str | None = None
    cut: str | None = None
    cut_after: str | None = None
    delay: float = 0.0
    pipelining: bool = True
    size: str | None = str(SIZE_LIMIT)
    eightbit: bool = True
    smtputf8: bool = True
    esmtp: bool = True
    starttls: bool = True
    user: str | None = None
    password: str | None = None
    mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN")
    max_recipients: int | None = None
    messages_per_session: int | None = None
    lenient: bool = False
    replies: Mapping[str, str] = field(default_factory=dict)


class MannersDialogue(Dialogue):
    sink: "Sink"
    secured = False
    authenticated = False
    served = 0

    async def run(self) -> None:
        await self.at("connect")
        await super().run()

    async def obey(self, verb: str, argument: str) -> bool:
        stage = verb.lower()
        self.sink.commands.append(f"{verb} {argument}".rstrip())
        await self.at(stage)
        if stage in self.manners.replies:
            self.replies.append(self.manners.replies[stage])
            goes_on = stage != "quit"
        elif verb == "STARTTLS" and self.sink.tls is not None:
            goes_on = await self.start_tls()
        elif verb == "AUTH":
            goes_on = await self.authenticate(argument)
        else:
            goes_on = await super().obey(verb, argument)
        return goes_on and stage != self.manners.cut_after

    @property
    def manners(self) -> Manners:
        return self.sink.manners

    async def at(self, stage: str) -> None:
        if self.manners.hang == stage:
            self.flush()
            await asyncio.Event().wait()
        if self.manners.cut == stage:
            self.flush()
            raise ConnectionAbortedError(stage)
        if self.manners.delay:
            await asyncio.sleep(self.manners.delay)

    def greeting(self) -> str:
        return self.manners.greeting

    def extensions(self) -> list[str]:
        manners = self.manners
        offers = [
            ("PIPELINING", manners.pipelining),
            (f"SIZE {manners.size}", manners.size is not None),
            ("8BITMIME", manners.eightbit),
            ("SMTPUTF8", manners.smtputf8),
            ("STARTTLS", manners.starttls and self.sink.tls is not None and not self.secured),
            (f"AUTH {' '.join(manners.mechanisms)}", manners.user is not None),
            ("ENHANCEDSTATUSCODES", True),
        ]
        return [text for text, offered in offers if offered]

    def reply_to(self, verb: str, argument: str) -> str:
        if verb == "EHLO" and not self.manners.esmtp:
            return "502 5.5.2 EHLO not known"
        if verb == "MAIL" and self.manners.user is not None and not self.authenticated:
            return "530 5.7.0 Authentication required"
        limit = self.manners.messages_per_session
        if verb == "MAIL" and limit is not None and self.served >= limit:
            return "421 4.7.0 Too many messages in this session"
        return super().reply_to(verb, argument)

    def recipient(self, address: str) -> str:
        limit = self.manners.max_recipients
        if limit is not None and len(self.rcpts) >= limit:
            return "452 4.5.3 Too many recipients"
        return super().recipient(address)

    async def start_tls(self) -> bool:
        assert self.sink.tls is not None
        self.replies.append("220 2.0.0 Ready to start TLS")
        self.flush()
        await self.writer.drain()
        with suppress(ssl.SSLError):
            await self.writer.start_tls(self.sink.tls)
            self.buffer.clear()
            self.forget()
            self.secured = True
        return self.secured

    async def authenticate(self, argument: str) -> bool:
        mechanism, _, initial = argument.partition(" ")
        given = base64.b64decode(initial)
        if mechanism.upper() == "LOGIN":
            user = given or await self.challenge("Username:")
            given = b"\0" + user + b"\0" + await self.challenge("Password:")
        expected = f"\0{self.manners.user}\0{self.manners.password}".encode()
        self.authenticated = given == expected
        self.replies.append(
            "235 2.7.0 Ok" if self.authenticated else "535 5.7.8 Authentication credentials invalid"
        )
        return True

    async def challenge(self, text: str) -> bytes:
        self.replies.append("334 " + base64.b64encode(text.encode()).decode())
        return base64.b64decode(await self.line())

    async def content(self) -> bytes:
        await self.at("body")
        if self.manners.lenient:
            return await self.lenient_content()
        return await super().content()

    async def lenient_content(self) -> bytes:
        self.buffer[:0] = b"\r\n"
        while (end := _LENIENT_END.search(self.buffer)) is None:
            await self.fill()
        content = bytes(self.buffer[2 : end.start() + 2])
        del self.buffer[: end.end()]
        return content

    async def received(self, content: bytes) -> bool:
        self.served += 1
        await self.at("dot")
        for match in filter(None, map(_AT_DOT.match, self.rcpts)):
            code, milliseconds, word = match.groups()
            if code is not None:
                self.replies.append(f"{code} {code[0]}.6.0 As you wish")
                return True
            if milliseconds is not None:
                await asyncio.sleep(int(milliseconds) / 1000)
            else:
                return await self.misbehave(word, content)
        if "dot" in self.manners.replies:
            self.replies.append(self.manners.replies["dot"])
            return True
        return await super().received(content)

    async def misbehave(self, word: str, content: bytes) -> bool:
        if word != "cutdot":
            self.sink.record(self.delivery(content), content)
        if word == "hangdot":
            await asyncio.Event().wait()
        if word == "garbledot":
            self.replies.append("2 hundred and fifty")
            return True
        return False


class Sink(PlainSink):
    """The demo's sink with `Manners`; `commands` are the command lines of all sessions, for small tests."""

    dialogue = MannersDialogue

    def __init__(
        self,
        log: Path,
        *,
        manners: Manners | None = None,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        keep: Path | None = None,
        **changes: Any,
    ) -> None:
        super().__init__(log, host=host, port=port, keep=keep)
        self.manners = replace(manners or Manners(), **changes)
        self.tls = tls
        self.listening_tls = tls if implicit_tls else None
        self.commands: list[str] = []

    def contents(self) -> list[bytes]:
        """The bytes of each message in the order of the log; needs `keep`."""
        assert self.keep is not None
        return [(self.keep / f"{delivery.sha256}.eml").read_bytes() for delivery in self.messages()]


class ScriptedServer:
    """Sends the next step of its script for each command line, whatever the command says.

    The first step is the greeting. A step is the raw bytes to send, None to close the connection, or a
    callable awaited with (reader, writer) to do as it likes. `BODY` sends nothing and reads up to the final
    dot. Every connection gets the script from its start; `received` are the bytes of all of them in order.
    """

    BODY = b""

    def __init__(self, *steps: bytes | Callable[..., Any] | None) -> None:
        self.steps = steps
        self.received: list[bytes] = []
        self.connections = 0
        self.host = "127.0.0.1"
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, 0, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._follow(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, step in enumerate(self.steps):
            if step == self.BODY:
                self.received.append(await reader.readuntil(b"\r\n.\r\n"))
                continue
            if number and self.steps[number - 1] != self.BODY:
                self.received.append(await reader.readuntil(b"\r\n"))
            if step is None:
                return
            if callable(step):
                await step(reader, writer)
            else:
                writer.write(step)
                await writer.drain()
        while chunk := await reader.read(65536):
            self.received.append(chunk)


@asynccontextmanager
async def sink_process(log: Path, *, keep: Path | None = None, **changes: Any) -> AsyncIterator[int]:
    """A `Sink` in a process of its own; yields its port."""
    command = [sys.executable, "-m", "tests.support.smtp", "--log", str(log)]
    command += ["--keep", str(keep)] if keep else []
    for name, value in changes.items():
        command += ["--behaviour", f"{name}={json.dumps(value)}"]
    root = Path(__file__).parents[2]
    pipe = subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, "--with-parent", stdin=pipe, stdout=pipe, cwd=root
    )
    try:
        assert process.stdout is not None
        yield json.loads(await process.stdout.readline())["port"]
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def _main(options: argparse.Namespace) -> None:
    known = {item.name for item in fields(Manners)}
    changes = dict(text.split("=", 1) for text in options.behaviour)
    if unknown := changes.keys() - known:
        raise SystemExit(f"unknown behaviour: {', '.join(sorted(unknown))}")
    values = {name: json.loads(value) for name, value in changes.items()}
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    if options.with_parent:
        asyncio.get_running_loop().add_reader(sys.stdin, stopped.set)
    async with Sink(options.log, port=options.port, keep=options.keep, **values) as sink:
        print(json.dumps({"host": sink.host, "port": sink.port}), flush=True)
        await stopped.wait()


def _arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="An SMTP sink on loopback; prints its port as a JSON line.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--behaviour", action="append", default=[], metavar="NAME=JSON")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input is closed")
    return parser.parse_args(argv)


if __name__ == "__main__":
    import uvloop

    uvloop.run(_main(_arguments()))
