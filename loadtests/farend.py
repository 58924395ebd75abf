"""The far end as programs of their own: a lean SMTP sink and a tenant, whose logs are what the bench counts.

`python -m loadtests.farend smtp LOG [--probe DATABASE]` and `python -m loadtests.farend tenant LOG`
print their port and run until they are told to stop.
"""

import argparse
import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast

import uvloop

from loadtests.checks import Probe
from mailproxy.demo.endpoint import Endpoint

PROBE_EVERY = 100
_TRACKING = b"X-Genro-Mail-ID: "
_EXTENSIONS = (
    b"250-sink.invalid\r\n250-PIPELINING\r\n250-SIZE 67108864\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
)
_END = b"\r\n.\r\n"
_OK = b"250 2.0.0 Ok: queued\r\n"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One accepted message: its id, when its DATA came, and when it was complete."""

    id: str
    data_at: float
    at: float


def arrivals(log: Path, first: int = 0) -> list[Arrival]:
    lines = (line.split() for line in log.read_text().splitlines()[first:])
    return [Arrival(client_id, float(data_at), float(at)) for client_id, data_at, at in lines]


class Sink(asyncio.Protocol):
    """Says yes to everything (RFC 5321, RFC 2920); each message is in the log before its dot is answered."""

    log: ClassVar[int]
    probe: ClassVar[Callable[[str], None] | None] = None
    taken: ClassVar[int] = 0

    def __init__(self) -> None:
        self._buffer = b""
        self._content: bytearray | None = None
        self._data_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"220 sink.invalid ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        if self._content is not None:
            self._more(data)
            return
        *lines, self._buffer = (self._buffer + data).split(b"\r\n")
        for number, line in enumerate(lines):
            if line == b"DATA":
                self._transport.write(b"250 2.1.0 Ok\r\n" * number + b"354 Go ahead\r\n")
                self._data_at = time.time()
                self._content = bytearray()
                rest = b"\r\n".join([*lines[number + 1 :], self._buffer])
                self._buffer = b""
                self._more(rest)
                return
        self._transport.write(b"".join(_reply(line) for line in lines))
        if b"QUIT" in lines:
            self._transport.close()

    def _more(self, data: bytes) -> None:
        assert self._content is not None
        searched = max(0, len(self._content) - len(_END))
        self._content += data
        end = self._content.find(_END, searched)
        if end < 0:
            return
        rest = bytes(self._content[end + len(_END) :])
        client_id = _id_of(self._content)
        kind = type(self)
        Sink.taken += 1
        if kind.probe is not None and Sink.taken % PROBE_EVERY == 0:
            kind.probe(client_id)
        os.write(self.log, f"{client_id} {self._data_at:.6f} {time.time():.6f}\n".encode())
        self._content = None
        self._transport.write(_OK)
        if rest:
            self.data_received(rest)


def _id_of(content: bytearray) -> str:
    at = content.find(_TRACKING)
    return "-" if at < 0 else content[at + len(_TRACKING) : content.find(b"\r\n", at)].decode()


def _reply(line: bytes) -> bytes:
    verb = line[:4].upper()
    if verb in (b"EHLO", b"HELO"):
        return _EXTENSIONS
    return b"221 2.0.0 Bye\r\n" if verb == b"QUIT" else b"250 2.1.0 Ok\r\n"


def phases_of(log: Path) -> Path:
    """Beside the sink's log: a line `id phase` for each message that was looked up."""
    return log.with_suffix(".phases")


async def _smtp(log: Path, database: str | None) -> None:
    Sink.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    if database is not None:
        probe, phases = Probe(database), os.open(phases_of(log), os.O_WRONLY | os.O_CREAT, 0o600)
        Sink.probe = lambda client_id: _note(phases, f"{client_id} {probe.phase(client_id)}\n")
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0, backlog=1024)
    await _until_told(server.sockets[0].getsockname()[1])
    server.close()


def _note(fd: int, line: str) -> None:
    os.write(fd, line.encode())


async def _tenant(log: Path) -> None:
    async with AsyncExitStack() as stack:
        endpoint = await stack.enter_async_context(Endpoint(log))
        await _until_told(endpoint.port)


async def _until_told(port: int) -> None:
    print(port, flush=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["smtp", "tenant"])
    parser.add_argument("log", type=Path)
    parser.add_argument("--probe", help="database in which a sample of the intents is looked up")
    given = parser.parse_args()
    uvloop.run(_tenant(given.log) if given.kind == "tenant" else _smtp(given.log, given.probe))


if __name__ == "__main__":
    main()
