"""Runs units of work on PostgreSQL with psycopg: pipelined, pooler-safe, durable at the answer."""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import TypeVar

import psycopg
from psycopg import AsyncConnection, AsyncPipeline, errors
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from mailproxy.errors import CommitUnknown, ConfigurationError, StorageUnavailable
from sql.engine import Work
from sql.queries import Query, Row, Step

T = TypeVar("T")

STATEMENT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 10.0
ATTEMPTS = 4

# SET LOCAL only, so that transaction-mode poolers work; a role's synchronous_commit=off must not undo a promise.
_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', true), set_config('statement_timeout', %(t)s, true), "
    "set_config('lock_timeout', '2s', true), "
    "set_config('idle_in_transaction_session_timeout', '5s', true)"
)
_SOON = _DURABLE.replace("'synchronous_commit', 'on'", "'synchronous_commit', 'off'")
_TIMEOUT = {"t": f"{STATEMENT_TIMEOUT_S:g}s"}

_AGAIN = (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable)
_READ_ONLY = (errors.ReadOnlySqlTransaction,)
_OUTAGE = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, TimeoutError)


class _Timestamp(Loader):
    """timestamptz leaves the database as Unix seconds only through extract(); anything else is a bug."""

    def load(self, data: Buffer) -> float:
        raise AssertionError(f"a query returned a bare timestamptz: {bytes(data)!r}")


async def _configure(connection: AsyncConnection[Row]) -> None:
    connection.adapters.register_loader("timestamptz", _Timestamp)


class PostgresEngine:
    """A pool of at most `connections` (shared by everything a process does)."""

    def __init__(self, url: str, queries: Mapping[str, Query], *, connections: int, name: str) -> None:
        self._queries = queries
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
            timeout=5.0,
            max_lifetime=1800.0,
            reconnect_timeout=2.0,
            check=None,
            configure=_configure,
            open=False,
        )

    async def open(self) -> None:
        try:
            await self._pool.open(wait=True, timeout=5.0)
        except _OUTAGE as e:
            await self._pool.close(timeout=1.0)
            raise StorageUnavailable(f"PostgreSQL cannot be reached: {e}") from e
        ((setting,),) = await self._sole("SHOW fsync")
        if setting != "on":
            await self.aclose()
            raise ConfigurationError(
                "PostgreSQL runs with fsync=off: accepted mail could be lost. Turn it on."
            )

    async def aclose(self) -> None:
        await self._pool.close(timeout=2.0)

    async def write(self, begin: Callable[[], Work[T]]) -> T:
        return await self._run(begin, _DURABLE)

    async def write_soon(self, begin: Callable[[], Work[T]]) -> T:
        return await self._run(begin, _SOON)

    async def read(self, begin: Callable[[], Work[T]]) -> T:
        return await self._run(begin, _SOON)

    async def _run(self, begin: Callable[[], Work[T]], settings: str) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S), self._pool.connection() as connection:
                    return await self._transact(connection, begin(), settings)
            except _AGAIN as e:
                if attempt == ATTEMPTS:
                    raise StorageUnavailable(f"The database is too busy: {e}", retry_after=1.0) from e
                await asyncio.sleep(random.uniform(0.01, 0.05) * attempt)  # noqa: S311
            except _READ_ONLY as e:
                raise StorageUnavailable("The database is read-only", code="storage_read_only") from e
            except _OUTAGE as e:
                raise StorageUnavailable(f"The database does not answer: {e or type(e).__name__}") from e
            except errors.DiskFull as e:
                raise StorageUnavailable("The database's disk is full", code="storage_full") from e
        raise AssertionError("unreachable")

    async def _transact(self, connection: AsyncConnection[Row], work: Work[T], settings: str) -> T:
        committing = False
        try:
            async with connection.pipeline() as pipeline:
                await connection.execute("BEGIN")
                await connection.execute(settings, _TIMEOUT)
                result = await self._drive(connection, pipeline, work)
                committing = True
                await connection.execute("COMMIT")
        except errors.QueryCanceled:
            await self._roll_back(connection)
            raise TimeoutError(f"a statement took more than {STATEMENT_TIMEOUT_S:g} s") from None
        except BaseException as e:
            if committing and connection.closed and isinstance(e, psycopg.OperationalError):
                raise CommitUnknown("The connection was lost during COMMIT") from e
            if committing and isinstance(e, TimeoutError | asyncio.CancelledError):
                await connection.close()
                raise
            await self._roll_back(connection)
            raise
        return result

    async def _roll_back(self, connection: AsyncConnection[Row]) -> None:
        """Bring the connection back to idle, or close it: the pool replaces a closed one."""
        try:
            async with asyncio.timeout(1.0):
                await connection.execute("ROLLBACK")
        except (psycopg.Error, TimeoutError):
            await connection.close()

    async def _drive(
        self, connection: AsyncConnection[Row], pipeline: AsyncPipeline, work: Work[T]
    ) -> T:
        try:
            steps = next(work)
            while True:
                cursors = [await self._step(connection, step) for step in steps]
                await pipeline.sync()
                steps = work.send([await c.fetchall() if c and c.description else [] for c in cursors])
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    async def _step(self, connection: AsyncConnection[Row], step: Step) -> psycopg.AsyncCursor[Row] | None:
        cursor = None
        for statement in self._queries[step.query].statements:
            cursor = await connection.execute(statement, step.params or None)
        return cursor

    async def _sole(self, statement: str) -> list[Row]:
        async with self._pool.connection() as connection:
            return await (await connection.execute(statement)).fetchall()
