"""Runs units of work on PostgreSQL with psycopg: pipelined, pooler-safe, durable at the answer."""

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import psycopg
from psycopg import AsyncConnection, AsyncPipeline, errors, generators
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg_pool import AsyncConnectionPool

from mailproxy.errors import CommitUnknown, ConfigurationError, StorageUnavailable
from mailproxy.model import Seconds
from sql.engine import Work
from sql.queries import Query, Row, Step

T = TypeVar("T")

STATEMENT_TIMEOUT: Seconds = 5.0
ANSWER_TIMEOUT: Seconds = 10.0
POOL_TIMEOUT: Seconds = 5.0
ATTEMPTS = 4
LOST_ATTEMPTS = 2

# SET LOCAL only, so that transaction-mode poolers work; a role's synchronous_commit=off must not undo a promise.
_SETTINGS = (
    "SELECT set_config('synchronous_commit', %(commit)s, true), set_config('statement_timeout', %(timeout)s, true), "
    "set_config('lock_timeout', '2s', true), "
    # A process that is stopped between two statements must not keep the locks of an account for as long.
    "set_config('idle_in_transaction_session_timeout', '5s', true)"
)
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

_AGAIN = (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable)
_OUTAGE = (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError)


class _Timestamp(Loader):
    """timestamptz leaves the database as Unix seconds only through extract(); anything else is a bug."""

    def load(self, data: Buffer) -> float:
        raise AssertionError(f"a query returned a bare timestamptz: {bytes(data)!r}")


async def _configure(connection: AsyncConnection[Row]) -> None:
    connection.adapters.register_loader("timestamptz", _Timestamp)


@dataclass(slots=True)
class _Progress:
    """How far an attempt came: a failure before COMMIT is a definite roll-back, whatever it was."""

    committing: bool = False
    lost: bool = False


class PostgresEngine:
    """A pool of at most `connections` (shared by everything a process does)."""

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
        self._pool = AsyncConnectionPool(
            url,
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
                    return await self._transact(connection, begin(), opening, commit, progress)
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
        self, connection: AsyncConnection[Row], work: Work[T], opening: str, commit: str, progress: _Progress
    ) -> T:
        try:
            async with connection.pipeline() as pipeline:
                await connection.execute(opening)
                await connection.execute(_SETTINGS, {"commit": commit, "timeout": f"{STATEMENT_TIMEOUT:g}s"})
                result = await self._drive(connection, pipeline, work)
                progress.committing = True
                await connection.execute("COMMIT")
        except BaseException as e:
            progress.lost = connection.closed
            if progress.committing or isinstance(e, errors.ReadOnlySqlTransaction):
                await connection.close()  # read-only may be how this session began, not how the server is now
            elif not progress.lost:
                await _roll_back(connection)
            raise
        return result

    async def _drive(self, connection: AsyncConnection[Row], pipeline: AsyncPipeline, work: Work[T]) -> T:
        try:
            steps = next(work)
            while True:
                cursors = [await self._step(connection, step) for step in steps]
                # sync() waits for answers only: for ever, when parameters larger than the socket's buffer are unsent.
                await connection.wait(generators.send(connection.pgconn))
                await pipeline.sync()
                steps = work.send([await c.fetchall() if c and c.description else [] for c in cursors])
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    async def _step(self, connection: AsyncConnection[Row], step: Step) -> psycopg.AsyncCursor[Row] | None:
        cursor = None
        params = dict(step.params)
        if step.rows:
            params["rows"] = json.dumps(step.rows, ensure_ascii=False)
        for statement in self._queries[step.query].statements:
            cursor = await connection.execute(statement, params or None)
        return cursor

    async def _sole(self, statement: str) -> list[Row]:
        async with self._pool.connection() as connection:
            return await (await connection.execute(statement)).fetchall()


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
