"""Runs units of work on PostgreSQL with psycopg: pipelined, pooler-safe, durable at the answer."""

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import psycopg
from psycopg import AsyncConnection, errors, generators
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types.numeric import Int8Dumper
from psycopg_pool import AsyncConnectionPool

from mailproxy.errors import CommitUnknown, ConfigurationError, StorageUnavailable
from mailproxy.model import Seconds
from sql.engine import Last, Work, one
from sql.queries import Query, Row, Step

T = TypeVar("T")

STATEMENT_TIMEOUT: Seconds = 5.0
ANSWER_TIMEOUT: Seconds = 10.0
POOL_TIMEOUT: Seconds = 5.0
ATTEMPTS = 4
LOST_ATTEMPTS = 2
UNTIDY = 5_000

# A role's synchronous_commit=off must not undo a promise. Behind a pooler all is SET LOCAL, for each transaction.
_SETTINGS = (
    "SELECT set_config('synchronous_commit', %(commit)s, %(local)s), "
    "set_config('statement_timeout', %(timeout)s, %(local)s), set_config('lock_timeout', '2s', %(local)s), "
    # A process that is stopped between two statements must not keep the locks of an account for as long.
    "set_config('idle_in_transaction_session_timeout', '5s', %(local)s), "
    # A plan made for any value would guess how many rows an array or a LIMIT means.
    "set_config('plan_cache_mode', 'force_custom_plan', %(local)s)"
)
_TIMEOUT = f"{STATEMENT_TIMEOUT:g}s"
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_NOT_WAITED_FOR = "SELECT set_config('synchronous_commit', 'off', true)"
PREPARE_AFTER = 3

_AGAIN = (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable)
_OUTAGE = (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError)


class _Timestamp(Loader):
    """timestamptz leaves the database as Unix seconds only through extract(); anything else is a bug."""

    def load(self, data: Buffer) -> float:
        raise AssertionError(f"a query returned a bare timestamptz: {bytes(data)!r}")


class _Connection(AsyncConnection[Row]):
    """`direct`: nothing stands between us and our server process, so a session keeps what it was told."""

    direct = False


async def _configure(connection: _Connection) -> None:
    """A pooler answers the start-up with a process id of its own making."""
    connection.adapters.register_loader("timestamptz", _Timestamp)
    connection.adapters.register_dumper(int, Int8Dumper)  # one statement, one set of types, one preparation
    found = await (await connection.execute("SELECT pg_backend_pid()")).fetchone()
    if found == (connection.info.backend_pid,):
        await connection.execute(_SETTINGS, {"commit": "on", "timeout": _TIMEOUT, "local": False})
        connection.prepare_threshold = PREPARE_AFTER
        connection.direct = True


@dataclass(slots=True)
class _Progress:
    """How far an attempt came: a failure before COMMIT is a definite roll-back, whatever it was."""

    committing: bool = False
    lost: bool = False


class _Unit(Generic[T]):
    """A unit of work under way: the steps it wants next, or its result."""

    result: T

    def __init__(self, work: Work[T]) -> None:
        self._work = work
        self.steps: tuple[Step, ...] = ()
        self.is_last = False
        self.is_done = False
        self.answer(None)

    def answer(self, rows: list[list[Row]] | None) -> None:
        try:
            wanted = next(self._work) if rows is None else self._work.send(rows)
        except StopIteration as stop:
            self.is_done, self.steps, self.result = True, (), stop.value
            return
        assert not self.is_last, "a unit went on after its last steps"
        self.is_last = isinstance(wanted, Last)
        self.steps = wanted.steps if isinstance(wanted, Last) else wanted


class PostgresEngine:
    """A pool of at most `connections` (shared by everything a process does)."""

    is_remote = True

    def __init__(
        self,
        url: str,
        queries: Mapping[str, Query],
        *,
        connections: int,
        name: str,
        patience: Seconds = POOL_TIMEOUT,
    ) -> None:
        """`patience`: how long to wait for a connection."""
        self._queries = queries
        self._patience = patience
        self._pool: AsyncConnectionPool[_Connection] = AsyncConnectionPool(
            url,
            connection_class=_Connection,
            kwargs={
                "autocommit": True,
                "prepare_threshold": None,
                "application_name": name,
                "connect_timeout": 5,
                "tcp_user_timeout": 10_000,
                "keepalives_idle": 10,
            },
            min_size=1,
            max_size=connections,
            timeout=patience,
            max_lifetime=1800.0,
            reconnect_timeout=2.0,
            configure=_configure,
            open=False,
        )

    async def open(self) -> None:
        try:
            await self._pool.open(wait=True, timeout=self._patience)
            ((setting,),) = await self._sole("SHOW fsync")
        except _OUTAGE as e:
            await self.aclose()
            raise StorageUnavailable(f"PostgreSQL cannot be reached: {e}") from e
        if setting != "on":
            await self.aclose()
            raise ConfigurationError(
                "PostgreSQL runs with fsync=off: accepted mail could be lost. Turn it on."
            )

    async def aclose(self) -> None:
        await self._pool.close(timeout=2.0)

    async def tidy(self) -> None:
        """Autovacuum looks once a minute: at 2,000 messages a second that leaves 300,000 dead rows in `q`."""
        ((is_due,),) = await self.read(lambda: one("queue_is_untidy", dead=UNTIDY))
        if is_due:
            try:
                await self._sole("VACUUM (SKIP_LOCKED, TRUNCATE FALSE) q")
            except _OUTAGE as e:
                raise StorageUnavailable(f"The queue was not tidied: {e}") from e

    async def write(self, begin: Callable[[], Work[T]]) -> T:
        return await self._run(begin, "BEGIN", "on")

    async def write_soon(self, begin: Callable[[], Work[T]]) -> T:
        return await self._run(begin, "BEGIN", "off")

    async def read(self, begin: Callable[[], Work[T]]) -> T:
        return await self._run(begin, _READ, "off")

    async def _run(self, begin: Callable[[], Work[T]], opening: str, commit: str) -> T:
        """Whatever failed before its COMMIT left nothing behind, so it is safe to run again."""
        attempt = 0
        while True:
            attempt += 1
            progress = _Progress()
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT), self._pool.connection() as connection:
                    return await self._transact(connection, _Unit(begin()), opening, commit, progress)
            except _AGAIN as e:
                if attempt >= ATTEMPTS:
                    raise StorageUnavailable(f"The database is too busy: {e}", retry_after=1.0) from e
                await asyncio.sleep(random.uniform(0.01, 0.05) * attempt)  # noqa: S311
            except psycopg.Error as e:
                if not progress.lost or progress.committing or attempt >= LOST_ATTEMPTS:
                    raise _translated(e, progress) from e
                await self._pool.check()
            except TimeoutError as e:
                raise _translated(e, progress) from e

    async def _transact(
        self, connection: _Connection, unit: _Unit[T], opening: str, commit: str, progress: _Progress
    ) -> T:
        try:
            if opening is _READ and connection.direct and self._is_one_statement(unit):
                unit.answer([await _rows(await self._step(connection, unit.steps[0]))])
                return unit.result
            # What goes out before one Sync is one transaction, whether or not it is called so.
            implicit = unit.is_last and connection.direct and opening is not _READ
            async with connection.pipeline() as pipeline:
                await _open(connection, None if implicit else opening, commit)
                while not (unit.is_done or unit.is_last):
                    cursors = [await self._step(connection, step) for step in unit.steps]
                    # sync() waits for answers only: for ever, when large parameters are still unsent.
                    await connection.wait(generators.send(connection.pgconn))
                    await pipeline.sync()
                    unit.answer([await _rows(cursor) for cursor in cursors])
                last = [await self._step(connection, step) for step in unit.steps]
                progress.committing = True
                if not implicit:
                    await connection.execute("COMMIT")
                await connection.wait(generators.send(connection.pgconn))
            if not unit.is_done:
                unit.answer([await _rows(cursor) for cursor in last])
        except BaseException as e:
            progress.lost = connection.closed
            progress.committing = progress.committing and not _is_definite(e, connection)
            if progress.committing or isinstance(e, errors.ReadOnlySqlTransaction):
                await connection.close()  # read-only may be how this session began, not how the server is now
            elif not progress.lost:
                await _roll_back(connection)
            raise
        return unit.result

    def _is_one_statement(self, unit: _Unit[T]) -> bool:
        return unit.is_last and len(unit.steps) == 1 == len(self._queries[unit.steps[0].query].statements)

    async def _step(self, connection: _Connection, step: Step) -> psycopg.AsyncCursor[Row] | None:
        cursor = None
        params = dict(step.params)
        if step.rows:
            params["rows"] = json.dumps(step.rows, ensure_ascii=False)
        for statement in self._queries[step.query].statements:
            cursor = await connection.execute(statement, params or None)
        return cursor

    async def _sole(self, statement: str) -> list[Row]:
        async with self._pool.connection() as connection:
            return await _rows(await connection.execute(statement))


async def _rows(cursor: psycopg.AsyncCursor[Row] | None) -> list[Row]:
    return await cursor.fetchall() if cursor and cursor.description else []


async def _open(connection: _Connection, opening: str | None, commit: str) -> None:
    if opening is not None:
        await connection.execute(opening)
    if not connection.direct:
        await connection.execute(_SETTINGS, {"commit": commit, "timeout": _TIMEOUT, "local": True})
    elif commit == "off" and opening != _READ:
        await connection.execute(_NOT_WAITED_FOR)


def _is_definite(error: BaseException, connection: _Connection) -> bool:
    """Whether the server itself said that the transaction, or one of the steps before its COMMIT, failed."""
    return isinstance(error, psycopg.Error) and error.sqlstate is not None and not connection.closed


async def _roll_back(connection: AsyncConnection[Row]) -> None:
    """Bring the connection back to idle, or close it: the pool replaces a closed one."""
    try:
        async with asyncio.timeout(1.0):
            await connection.execute("ROLLBACK")
    except (psycopg.Error, TimeoutError):
        await connection.close()


def _translated(error: Exception, progress: _Progress) -> Exception:
    timeout = f"{STATEMENT_TIMEOUT:g} s"
    match error:
        case errors.ReadOnlySqlTransaction():
            found = StorageUnavailable("The database is read-only", code="storage_read_only")
        case errors.DiskFull():
            found = StorageUnavailable("The database's disk is full", code="storage_full")
        case _ if not isinstance(error, _OUTAGE):
            return error
        case _ if progress.committing:
            found = CommitUnknown("The connection was lost during COMMIT")
        case errors.QueryCanceled():
            found = StorageUnavailable(f"A statement took more than {timeout}")
        case _:
            found = StorageUnavailable(f"The database does not answer: {error or type(error).__name__}")
    return found
