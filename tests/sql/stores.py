"""Stores opened as a test needs them: with queries of its own, little patience, or a fault proxy between."""

import asyncio
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psycopg

from mailproxy.config import Settings
from mailproxy.errors import StorageUnavailable
from mailproxy.records import AccountWrite, TenantWrite
from mailproxy.vault import Vault
from sql import queries
from sql.open import CONNECTIONS, assemble
from sql.postgres.engine import PostgresEngine
from sql.postgres.wakeups import PostgresWakeups
from sql.queries import Query
from sql.sqlite.engine import Opening, SqliteEngine, connect
from sql.sqlite.wakeups import SqliteWakeups
from sql.store import SqlStore
from tests.sql.conftest import World, run_sql
from tests.support.faultproxy import FaultProxy

VAULT = Vault([b"k" * 32])


def extra(dialect: str, **statements: str) -> dict[str, Query]:
    """The dialect's queries and some of the test's own."""
    return dict(queries.load(dialect)) | {
        name: Query(name, tuple(text.split(";"))) for name, text in statements.items()
    }


@asynccontextmanager
async def on_postgres(
    url: str, *, connections: int = CONNECTIONS, **statements: str
) -> AsyncIterator[SqlStore]:
    found = extra("postgres", **statements)
    engine = PostgresEngine(url, found, connections=connections, name="mailproxy test", patience=1.0)
    await engine.open()
    store = assemble(engine, PostgresWakeups(url), VAULT, fallback=False)
    try:
        yield store
    finally:
        await store.aclose()


@asynccontextmanager
async def on_sqlite(
    path: Path, *, busy_timeout: float = 0.2, opening: Opening = connect, **statements: str
) -> AsyncIterator[SqlStore]:
    found = extra("sqlite", **statements)
    engine = SqliteEngine(path, found, busy_timeout=busy_timeout, opening=opening)
    store = assemble(engine, SqliteWakeups(path), VAULT, fallback=False)
    try:
        yield store
    finally:
        await store.aclose()


def through(proxy: FaultProxy, settings: Settings) -> str:
    info = psycopg.conninfo.conninfo_to_dict(settings.database.url)
    return psycopg.conninfo.make_conninfo("", **info | {"host": proxy.host, "port": proxy.port})


def proxy_to(url: str) -> FaultProxy:
    with psycopg.connect(url) as connection:
        host, port = connection.info.host, connection.info.port
    return FaultProxy(f"{host}/.s.PGSQL.{port}") if host.startswith("/") else FaultProxy(host, port)


@asynccontextmanager
async def proxied(settings: Settings) -> AsyncIterator[FaultProxy]:
    async with proxy_to(settings.database.url) as proxy:
        yield proxy


@contextmanager
def a_role(settings: Settings, connections: int) -> Iterator[str]:
    """The URL for a role that may have so many connections, and may do what a service does."""
    role = f"few_{uuid.uuid4().hex[:12]}"
    for statement in (
        f"CREATE ROLE {role} LOGIN CONNECTION LIMIT {connections}",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}",
    ):
        run_sql(settings.database, statement)
    try:
        yield psycopg.conninfo.make_conninfo(settings.database.url, user=role)
    finally:
        run_sql(settings.database, f"DROP OWNED BY {role}")
        run_sql(settings.database, f"DROP ROLE {role}")


HOLD_LOCK = """
import select, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN EXCLUSIVE")
print(flush=True)
select.select([sys.stdin], [], [], float(sys.argv[2]))
connection.execute("ROLLBACK")
"""


@contextmanager
def locked_by_another(path: Path, seconds: float) -> Iterator[Callable[[], bool]]:
    """Another process holds SQLite's lock, at most for so long; yields whether it still does."""
    command = [sys.executable, "-c", HOLD_LOCK, str(path), str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield lambda: process.poll() is None
        finally:
            process.communicate()
    assert process.returncode == 0


async def works_again(check: Callable[[], object], within: float = 10.0) -> None:
    """Wait until the store's check passes, without opening it anew."""
    async with asyncio.timeout(within):
        while True:
            try:
                await check()  # type: ignore[misc]
            except StorageUnavailable:
                await asyncio.sleep(0.05)
            else:
                return


async def a_world(store: SqlStore) -> World:
    await store.directory.put_tenant(TenantWrite(id="t"), None, None)
    tenant = await store.directory.tenant("t")
    assert tenant is not None
    account = await store.directory.put_account(tenant.pk, AccountWrite(id="a", host="h", port=25))
    return World(store, tenant.pk, account)
