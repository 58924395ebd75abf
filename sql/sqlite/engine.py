"""Runs units of work on SQLite: one writer thread with group commit, one reader thread beside it."""

import asyncio
import json
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from mailproxy.errors import ConfigurationError, StorageUnavailable
from sql.engine import Work
from sql.queries import Query, Row, Step

T = TypeVar("T")

BUSY_TIMEOUT_MS = 10_000
GROUP = 64

_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    f"busy_timeout={BUSY_TIMEOUT_MS}",
    "foreign_keys=ON",
    "wal_autocheckpoint=2000",
    "temp_store=MEMORY",
    "trusted_schema=OFF",
)


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection with our pragmas; ConfigurationError when the file is no database or SQLite is too old."""
    if sqlite3.sqlite_version_info < (3, 37):
        raise ConfigurationError(f"SQLite {sqlite3.sqlite_version} is too old: 3.37 or newer is needed")
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        if read_only:
            connection.execute("PRAGMA query_only=ON")
    except sqlite3.Error as e:
        raise translated(e) from e
    return connection


def translated(error: sqlite3.Error) -> StorageUnavailable | ConfigurationError:
    match getattr(error, "sqlite_errorname", "").split("_")[:2]:
        case ["SQLITE", "BUSY" | "LOCKED"]:
            return StorageUnavailable("The database is locked by another program", code="storage_locked")
        case ["SQLITE", "FULL"]:
            return StorageUnavailable("The database's disk is full", code="storage_full")
        case ["SQLITE", "READONLY"]:
            return StorageUnavailable("The database is read-only", code="storage_read_only")
        case ["SQLITE", "NOTADB"]:
            return ConfigurationError("The database file is not an SQLite database")
    return StorageUnavailable(f"The database does not answer: {error}")


def bound(params: Mapping[str, object], now: float) -> dict[str, Any]:
    """Lists travel as JSON; :now is the host's clock."""
    values = {k: json.dumps(v) if isinstance(v, list) else v for k, v in params.items()}
    values["now"] = now
    return values


Job = tuple[Callable[[], Work[Any]], "asyncio.Future[Any]"]  # Any: each job has its own result type
Result = tuple["asyncio.Future[Any]", Any, BaseException | None]


class _Thread:
    """A connection and the thread that owns it; jobs that wait together are run in one transaction."""

    def __init__(self, path: Path, queries: Mapping[str, Query], *, read_only: bool) -> None:
        self._connection = connect(path, read_only=read_only)
        self._queries = queries
        self._read_only = read_only
        self._begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        name = "sqlite-read" if read_only else "sqlite-write"
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._thread.start()

    async def run(self, begin: Callable[[], Work[T]]) -> T:
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((begin, future))
        return await future

    async def close(self) -> None:
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _live(self) -> None:
        ending = False
        while not ending:
            group: list[Job] = []
            job = self._jobs.get()
            while job is not None:
                group.append(job)
                if len(group) >= GROUP or self._jobs.empty():
                    break
                job = self._jobs.get()
            ending = job is None
            if group:
                self._loop.call_soon_threadsafe(_deliver, self._transact(group))
        self._connection.close()

    def _transact(self, group: list[Job]) -> list[Result]:
        try:
            self._connection.execute(self._begin)
        except sqlite3.Error as e:
            return [(future, None, translated(e)) for _, future in group]
        results = [self._savepoint(begin, future) for begin, future in group]
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as e:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            return [(future, None, translated(e)) for _, future in group]
        return results

    def _savepoint(self, begin: Callable[[], Work[Any]], future: "asyncio.Future[Any]") -> Result:
        """One job's failure undoes that job alone."""
        try:
            self._connection.execute("SAVEPOINT job")
            result = self._drive(begin())
            self._connection.execute("RELEASE job")
        except Exception as e:  # noqa: BLE001 - whatever it is belongs to the caller that waits for this job
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO job")
                self._connection.execute("RELEASE job")
            return (future, None, translated(e) if isinstance(e, sqlite3.OperationalError) else e)
        return (future, result, None)

    def _drive(self, work: Work[T]) -> T:
        now = time.time()
        try:
            steps = next(work)
            while True:
                steps = work.send([self._step(step, now) for step in steps])
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    def _step(self, step: Step, now: float) -> list[Row]:
        params = bound(step.params, now)
        rows: list[Row] = []
        for statement in self._queries[step.query].statements:
            rows = self._connection.execute(statement, params).fetchall()
        return rows


def _deliver(results: list[Result]) -> None:
    for future, result, error in results:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


class SqliteEngine:
    def __init__(self, path: Path, queries: Mapping[str, Query]) -> None:
        self._writer = _Thread(path, queries, read_only=False)
        self._reader = _Thread(path, queries, read_only=True)

    async def aclose(self) -> None:
        await self._writer.close()
        await self._reader.close()

    async def write(self, begin: Callable[[], Work[T]]) -> T:
        return await self._writer.run(begin)

    async def write_soon(self, begin: Callable[[], Work[T]]) -> T:
        return await self._writer.run(begin)

    async def read(self, begin: Callable[[], Work[T]]) -> T:
        return await self._reader.run(begin)
