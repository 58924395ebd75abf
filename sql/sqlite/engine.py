"""Runs units of work on SQLite: one writer thread with group commit, one reader thread beside it."""

import asyncio
import contextlib
import json
import queue
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol, TypeGuard, TypeVar

from mailproxy.errors import ConfigurationError, StorageUnavailable
from mailproxy.model import Instant, Seconds
from sql.engine import Last, Work
from sql.queries import Query, Row, Step
from sql.sqlite.optional import decided
from sql.sqlite.place import make_private, require_local
from sql.sqlite.turn import Turn

T = TypeVar("T")

BUSY_TIMEOUT: Seconds = 10.0
GROUP = 64

_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "wal_autocheckpoint=2000",
    "temp_store=MEMORY",
    "trusted_schema=OFF",
)


def connect(
    path: Path, *, read_only: bool = False, busy_timeout: Seconds = BUSY_TIMEOUT
) -> sqlite3.Connection:
    """A connection with our pragmas.

    Raises ConfigurationError when the file is no database or on a network, or SQLite too old.
    """
    if sqlite3.sqlite_version_info < (3, 37):
        raise ConfigurationError(f"SQLite {sqlite3.sqlite_version} is too old: 3.37 or newer is needed")
    require_local(path)
    with contextlib.suppress(OSError):  # SQLite says below what is wrong
        make_private(path)
    try:
        connection = sqlite3.connect(
            path,
            isolation_level=None,
            check_same_thread=False,
            timeout=busy_timeout,
            cached_statements=512,
        )
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        if read_only:
            connection.execute("PRAGMA query_only=ON")
    except sqlite3.Error as e:
        raise translated(e) from e
    return connection


class Opening(Protocol):
    def __call__(self, path: Path, *, read_only: bool, busy_timeout: Seconds) -> sqlite3.Connection: ...


def _locked() -> StorageUnavailable:
    return StorageUnavailable("The database is locked by another program", code="storage_locked")


def translated(error: sqlite3.Error) -> StorageUnavailable | ConfigurationError:
    match getattr(error, "sqlite_errorname", "").split("_")[:2]:
        case ["SQLITE", "BUSY" | "LOCKED"]:
            return _locked()
        case ["SQLITE", "FULL"]:
            return StorageUnavailable("The database's disk is full", code="storage_full")
        case ["SQLITE", "READONLY"]:
            return StorageUnavailable("The database is read-only", code="storage_read_only")
        case ["SQLITE", "NOTADB"]:
            return ConfigurationError("The database file is not an SQLite database")
    return StorageUnavailable(f"The database does not answer: {error}")


def bound(params: Mapping[str, object], now: Instant) -> dict[str, Any]:
    """Lists travel as JSON; :now is the host's clock."""
    values = {k: json.dumps(v) if isinstance(v, list) else v for k, v in params.items() if k != "rows"}
    values["now"] = now
    return values


@cache
def named(statement: str) -> frozenset[str]:
    """The parameters a statement names."""
    return frozenset(re.findall(r"(?<!:):([a-z_]+)", statement))


Job = tuple[Callable[[], Work[Any]], "asyncio.Future[Any]"]  # Any: each job has its own result type
Result = tuple["asyncio.Future[Any]", Any, Exception | None]


def _is_outage(error: Exception) -> TypeGuard[sqlite3.Error]:
    """Trouble of the database rather than of what was asked of it."""
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


class _Undone(Exception):
    """The whole transaction was rolled back under its jobs (a full disk does that)."""


class _Thread:
    """A connection and the thread that owns it; jobs that wait together are run in one transaction."""

    def __init__(
        self,
        path: Path,
        queries: Mapping[str, Query],
        *,
        read_only: bool,
        busy_timeout: Seconds,
        opening: Opening,
    ) -> None:
        self._open = partial(opening, path, read_only=read_only, busy_timeout=busy_timeout)
        self._connection = self._open()
        self._given_up = False
        self._queries = queries
        self._begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"
        self._turn = None if read_only else self._queue_at(path, busy_timeout)
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        name = "sqlite-read" if read_only else "sqlite-write"
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._thread.start()

    def _queue_at(self, path: Path, patience: Seconds) -> Turn:
        try:
            return Turn(path, patience)
        except OSError as error:
            self._connection.close()
            raise StorageUnavailable(f"The database cannot be written: {error}") from error

    async def run(self, begin: Callable[[], Work[T]]) -> T:
        if self._closed:
            raise StorageUnavailable("The store is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((begin, future))
        return await future

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)

    def _live(self) -> None:
        ending = False
        while not ending:
            first = self._jobs.get()
            ending = first is None
            if first is not None:
                group, ending = self._waiting(first)
                results = self._answers(group)
                with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
                    self._loop.call_soon_threadsafe(_deliver, results)
        self._give_up()
        if self._turn is not None:
            self._turn.close()

    def _answers(self, group: list[Job]) -> list[Result]:
        """Whatever goes wrong the thread goes on, since without it nobody would ever be answered again."""
        try:
            if self._turn is not None and not self._turn.take():
                return _refused(group, _locked())
            try:
                return self._transact(group)
            finally:
                if self._turn is not None:
                    self._turn.give()
        except OSError as e:
            return _refused(group, StorageUnavailable(f"The database cannot be written: {e}"))
        except Exception as e:  # noqa: BLE001 - a bug, or no database to open again: for those who wait
            self._give_up()
            return _refused(group, e)

    def _waiting(self, first: Job) -> tuple[list[Job], bool]:
        """What may share the next commit, and whether the end of all work comes after it."""
        group = [first]
        while len(group) < GROUP and not self._jobs.empty():
            job = self._jobs.get()
            if job is None:
                return group, True
            group.append(job)
        return group, False

    def _transact(self, group: list[Job]) -> list[Result]:
        if self._given_up:
            self._connection = self._open()
            self._given_up = False
        try:
            self._connection.execute(self._begin)
            results = [self._run_apart(begin, future) for begin, future in group]
            self._connection.execute("COMMIT")
        except (sqlite3.Error, _Undone) as e:
            self._roll_back()
            cause = e.__cause__ if isinstance(e, _Undone) else e
            assert isinstance(cause, sqlite3.Error)
            return _refused(group, translated(cause))
        return results

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._give_up()

    def _give_up(self) -> None:
        """Closing a connection ends its transaction, whatever state it is in; the next unit opens another."""
        self._given_up = True
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _run_apart(self, begin: Callable[[], Work[Any]], future: "asyncio.Future[Any]") -> Result:
        """One job's failure undoes that job alone."""
        self._connection.execute("SAVEPOINT job")
        try:
            result = self._drive(begin())
        except Exception as e:  # whatever it is belongs to the caller that waits for this job
            if not self._connection.in_transaction:
                raise _Undone from e
            self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
            return (future, None, translated(e) if _is_outage(e) else e)
        self._connection.execute("RELEASE job")
        return (future, result, None)

    def _drive(self, work: Work[T]) -> T:
        now = time.time()
        try:
            steps = next(work)
            while True:
                wanted = steps.steps if isinstance(steps, Last) else steps
                steps = work.send([self._step(step, now) for step in wanted])
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    def _step(self, step: Step, now: Instant) -> list[Row]:
        """A statement that names a column of the step's `rows` runs once for each of them."""
        params = bound(step.params, now)
        found: list[Row] = []
        for statement in self._queries[step.query].statements:
            if not step.rows or named(statement) <= params.keys():
                found = self._connection.execute(decided(statement, params), params).fetchall()
            else:
                each = (self._connection.execute(statement, {**params, **row}) for row in step.rows)
                found = [row for cursor in each for row in cursor.fetchall()]
        return found


def _refused(group: list[Job], error: Exception) -> list[Result]:
    return [(future, None, error) for _, future in group]


def _deliver(results: list[Result]) -> None:
    for future, result, error in results:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


class SqliteEngine:
    """One writer for the whole process, so that what waits meanwhile shares the next commit."""

    is_remote = False

    def __init__(
        self,
        path: Path,
        queries: Mapping[str, Query],
        *,
        busy_timeout: Seconds = BUSY_TIMEOUT,
        opening: Opening = connect,
    ) -> None:
        thread = partial(_Thread, path, queries, busy_timeout=busy_timeout, opening=opening)
        self._writer = thread(read_only=False)
        self._reader = thread(read_only=True)

    async def aclose(self) -> None:
        await self._writer.close()
        await self._reader.close()

    async def tidy(self) -> None:
        """SQLite keeps no dead rows."""

    async def write(self, begin: Callable[[], Work[T]]) -> T:
        return await self._writer.run(begin)

    async def write_soon(self, begin: Callable[[], Work[T]]) -> T:
        return await self._writer.run(begin)

    async def read(self, begin: Callable[[], Work[T]]) -> T:
        return await self._reader.run(begin)
