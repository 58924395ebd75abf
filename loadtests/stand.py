"""The test stand: databases, the far end and the service, each a program of its own, all on loopback."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mailproxy.config import Database, database_at
from mailproxy.model import Seconds

_STOP_PATIENCE: Seconds = 10.0
_LOOK_AGAIN: Seconds = 0.01


class Lines:
    """Counts the complete lines of a growing file without reading any twice."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self.count = 0

    def look(self) -> int:
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(self._read)
            chunk = file.read()
            self._read += len(chunk)
            self.count += chunk.count(b"\n")
        return self.count

    async def reach(self, count: int, patience: Seconds) -> None:
        """Raises TimeoutError when nothing has come for `patience` seconds."""
        deadline = time.monotonic() + patience
        before = self.count
        while (now := self.look()) < count:
            if now > before:
                before, deadline = now, time.monotonic() + patience
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._path.name} has {now} of {count} lines")
            await asyncio.sleep(_LOOK_AGAIN)


@dataclass(frozen=True, slots=True)
class Program:
    """A running child; `first` is the first line it printed."""

    process: asyncio.subprocess.Process
    first: str

    @property
    def pid(self) -> int:
        return self.process.pid


@asynccontextmanager
async def program(module: str, *arguments: object) -> AsyncIterator[Program]:
    """`python -m module`, ended with SIGTERM; ready when it has printed a line."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *map(str, arguments)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        first = (await process.stdout.readline()).decode().strip()
        if not first:
            raise RuntimeError(f"{module} ended with code {await process.wait()}")
        yield Program(process, first)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_PATIENCE):
                await process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class FarEnd:
    """The sink and the tenant with their logs."""

    sink: Program
    tenant: Program
    folder: Path

    @property
    def smtp_port(self) -> int:
        return int(self.sink.first)

    @property
    def tenant_url(self) -> str:
        return f"http://127.0.0.1:{self.tenant.first}"

    @property
    def log(self) -> Path:
        return self.folder / "sink.log"

    @property
    def reports(self) -> Path:
        return self.folder / "tenant.log"


@asynccontextmanager
async def far_end(folder: Path, probed: Database | None) -> AsyncIterator[FarEnd]:
    folder.mkdir()
    probe = ["--probe", probed.url] if probed else []
    async with (
        program("loadtests.farend", "smtp", folder / "sink.log", *probe) as sink,
        program("loadtests.farend", "tenant", folder / "tenant.log") as tenant,
    ):
        yield FarEnd(sink, tenant, folder)


def drop_database(server: str | None, name: str) -> None:
    if server is not None:
        from psycopg import connect  # noqa: PLC0415

        with connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())


def fresh_database(server: str | None, folder: Path, name: str) -> Database:
    """An empty database: a file in `folder`, or one of the PostgreSQL server at `server`."""
    if server is None:
        return database_at(str(folder / f"{name}.db"))
    from psycopg import connect  # noqa: PLC0415

    with connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    head, _, query = server.partition("?")
    return database_at(f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else ""))
