"""What a commit means, and what each kind of database trouble becomes (RELIABILITY A1, A4, F10-F16, F23-F25)."""

import asyncio
import os
import sqlite3
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest

from mailproxy.config import Settings
from mailproxy.errors import CommitUnknown, StorageUnavailable
from mailproxy.model import State
from mailproxy.records import AccountWrite, TenantWrite
from mailproxy.vault import Vault
from sql import queries
from sql.engine import Engine, Work, one
from sql.open import CONNECTIONS, assemble, open_store
from sql.postgres.engine import PostgresEngine
from sql.postgres.wakeups import PostgresWakeups
from sql.queries import Query, Step
from sql.queue import FRESH
from sql.sqlite.engine import SqliteEngine
from sql.sqlite.wakeups import SqliteWakeups
from sql.store import SqlStore
from tests.sql.conftest import World, back, run_sql
from tests.support.faultproxy import FaultProxy

postgres_only = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
sqlite_only = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
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
async def on_sqlite(path: Path, *, busy_timeout: float = 0.2, **statements: str) -> AsyncIterator[SqlStore]:
    engine = SqliteEngine(path, extra("sqlite", **statements), busy_timeout=busy_timeout)
    store = assemble(engine, SqliteWakeups(path), VAULT, fallback=False)
    try:
        yield store
    finally:
        await store.aclose()


def through(proxy: FaultProxy, settings: Settings) -> str:
    info = psycopg.conninfo.conninfo_to_dict(settings.database.url)
    return psycopg.conninfo.make_conninfo("", **info | {"host": proxy.host, "port": proxy.port})


@asynccontextmanager
async def proxied(settings: Settings) -> AsyncIterator[FaultProxy]:
    with psycopg.connect(settings.database.url) as connection:
        host, port = connection.info.host, connection.info.port
    at_socket = host.startswith("/")
    proxy = FaultProxy(f"{host}/.s.PGSQL.{port}") if at_socket else FaultProxy(host, port)
    async with proxy:
        yield proxy


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


# -- what a commit means


@postgres_only
async def test_a_commit_is_durable_whatever_the_database_is_set_to(settings: Settings) -> None:
    name = psycopg.conninfo.conninfo_to_dict(settings.database.url)["dbname"]
    run_sql(settings.database, f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    asked = "SELECT current_setting('synchronous_commit')"
    async with on_postgres(settings.database.url, connections=1, asked=asked) as store:
        assert await store.engine.write(lambda: one("asked")) == [("on",)]
        assert await store.engine.write_soon(lambda: one("asked")) == [("off",)]
        assert await store.engine.read(lambda: one("asked")) == [("off",)]
        assert await store.engine.write(lambda: one("asked")) == [("on",)]


@sqlite_only
async def test_every_commit_is_synced_to_the_log(settings: Settings) -> None:
    assert settings.database.path is not None
    pragmas = {"sync": "PRAGMA synchronous", "journal": "PRAGMA journal_mode"}
    async with on_sqlite(settings.database.path, **pragmas) as store:
        assert await store.engine.write(lambda: one("sync")) == [(2,)]
        assert await store.engine.write(lambda: one("journal")) == [("wal",)]


async def test_a_read_sees_one_moment(world: World) -> None:
    await world.post("a")

    def reading() -> Work[tuple[int, int]]:
        (before,) = yield (Step("overview_queue"),)
        (after,) = yield (Step("overview_queue"),)
        return before[0][0], after[0][0]

    for _ in range(20):
        posting = asyncio.create_task(world.post("b"))
        before, after = await world.store.engine.read(reading)
        assert before == after
        await posting
        await world.store.directory.delete_messages(world.tenant, ["b"])


async def test_an_intent_that_was_long_in_coming_allows_no_dot_under_a_limit(
    world: World, settings: Settings
) -> None:
    await world.post("a", "b")
    sender = await world.sender()
    a, b = await sender.claim()
    for message, limited in ((a, False), (b, True)):
        with stalled(settings) as let_go:
            asking = asyncio.create_task(sender.intend(message, limited=limited))
            await asyncio.wait([asking], timeout=FRESH * 1.2)
            assert not asking.done()
            let_go()
            assert await asking == (frozenset() if limited else {message.id})
    assert await world.state("b") is State.SENDING
    await sender.settle(back(b, refund=True))
    assert await world.state("b") is State.PENDING


@contextmanager
def stalled(settings: Settings) -> Iterator[Callable[[], object]]:
    """Nothing that intends goes on until the function this yields is called."""
    path = settings.database.path
    if path is None:
        with psycopg.connect(settings.database.url) as postgres:
            postgres.execute("SELECT pg_advisory_xact_lock(7236833)")
            yield postgres.rollback
    else:
        sqlite = sqlite3.connect(path, isolation_level=None)
        sqlite.execute("BEGIN IMMEDIATE")
        yield lambda: sqlite.execute("ROLLBACK")
        sqlite.close()


# -- SQLite


@sqlite_only
async def test_a_unit_that_fails_does_not_disturb_those_committed_with_it(settings: Settings) -> None:
    assert settings.database.path is not None
    go = threading.Event()
    insert = "INSERT INTO suspension (tenant_pk, batch_code) VALUES (:tenant, 'x')"
    async with on_sqlite(settings.database.path, insert=insert) as store:
        engine: Engine = store.engine

        def held_up() -> Work[None]:
            go.wait(10)
            yield (Step("insert", {"tenant": 1}),)

        def bug() -> Work[None]:
            yield (Step("insert", {"tenant": 2}),)
            raise ZeroDivisionError

        units = [held_up, partial(one, "insert", tenant=3), bug]
        units += [partial(one, "insert", tenant=tenant) for tenant in (3, 4)]
        tasks = [asyncio.ensure_future(engine.write(unit)) for unit in units]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        go.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in found] == [
        type(None),
        list,
        ZeroDivisionError,
        sqlite3.IntegrityError,
        list,
    ]
    assert run_sql(settings.database, "SELECT tenant_pk FROM suspension ORDER BY 1") == [(1,), (3,), (4,)]


@sqlite_only
async def test_a_database_locked_by_another_program_is_unavailable_until_it_lets_go(
    settings: Settings,
) -> None:
    path = settings.database.path
    assert path is not None
    async with on_sqlite(path) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageUnavailable) as refused:
            await store.fleet.check()
        assert refused.value.error_code == "storage_locked"
        assert await store.fleet.instance()
        other.execute("ROLLBACK")
        other.close()
        await store.fleet.check()


@sqlite_only
async def test_a_read_only_database_is_unavailable(settings: Settings) -> None:
    assert settings.database.path is not None
    async with on_sqlite(settings.database.path, off="PRAGMA query_only = ON") as store:
        await store.engine.write(lambda: one("off"))
        with pytest.raises(StorageUnavailable) as refused:
            await store.fleet.check()
        assert refused.value.error_code == "storage_read_only"
        assert await store.fleet.instance()


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a small tmpfs")
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@sqlite_only
async def test_a_full_disk_refuses_and_keeps_what_it_had(settings: Settings, tmp_path: Path) -> None:
    assert settings.database.path is not None
    with small_disk(tmp_path / "small", 8) as folder:
        path = folder / "mail.db"
        path.write_bytes(settings.database.path.read_bytes())
        wal = settings.database.path.with_name(settings.database.path.name + "-wal")
        if wal.exists():
            (folder / "mail.db-wal").write_bytes(wal.read_bytes())
        filler = folder / "filler"
        filler.write_bytes(b"x" * (4 << 20))
        async with on_sqlite(path) as store:
            world = await _world(store)
            accepted = 0
            refused: StorageUnavailable | None = None
            while refused is None:
                try:
                    await asyncio.gather(
                        *(world.post(f"m{accepted + i}", payload="x" * 20_000) for i in range(4))
                    )
                    accepted += 4
                except StorageUnavailable as e:
                    refused = e
            assert refused.error_code == "storage_full"
            assert accepted >= 4
            assert (await store.fleet.totals()).messages >= accepted
            filler.unlink()
            await world.post("after")
            assert await world.state("after") is State.PENDING
            assert await world.state(f"m{accepted - 1}") is State.PENDING


async def _world(store: SqlStore) -> World:
    await store.directory.put_tenant(TenantWrite(id="t"), None, None)
    tenant = await store.directory.tenant("t")
    assert tenant is not None
    account = await store.directory.put_account(tenant.pk, AccountWrite(id="a", host="h", port=25))
    return World(store, tenant.pk, account)


async def test_a_closed_store_says_so(settings: Settings) -> None:
    store = await open_store(settings, role="test")
    await store.aclose()
    with pytest.raises(StorageUnavailable):
        await store.fleet.check()


# -- PostgreSQL


@postgres_only
async def test_a_lost_commit_answer_is_an_unknown_commit_that_a_repeat_settles(settings: Settings) -> None:
    async with proxied(settings) as proxy, on_postgres(through(proxy, settings)) as store:
        world = await _world(store)

        def cut() -> None:
            proxy.to_client.cut_after = 0

        proxy.to_server.when_seen = b"COMMIT"
        proxy.to_server.then = cut
        with pytest.raises(CommitUnknown):
            await world.post("m")
        proxy.come_back()
        assert run_sql(settings.database, "SELECT client_id FROM message") == [("m",)]
        await works_again(store.fleet.check)
        (again,) = await store.queue.enqueue({world.tenant: [world.message("m")]})
        assert (again.refused, again.replaced) == (None, True)


@postgres_only
async def test_a_connection_lost_before_the_commit_is_tried_once_more(settings: Settings) -> None:
    async with proxied(settings) as proxy, on_postgres(through(proxy, settings)) as store:
        world = await _world(store)
        proxy.reset_all()
        assert await world.post("m")
        proxy.to_server.when_seen = b"enqueue-me"
        proxy.to_server.then = proxy.reset_all
        with pytest.raises(StorageUnavailable) as refused:
            await world.post("n", payload='"enqueue-me"')
        assert not isinstance(refused.value, CommitUnknown)
        proxy.come_back()
        await works_again(store.fleet.check)
        assert await world.state("n") is None


@postgres_only
async def test_a_server_that_is_down_is_unavailable_and_found_again(settings: Settings) -> None:
    async with proxied(settings) as proxy, on_postgres(through(proxy, settings)) as store:
        world = await _world(store)
        proxy.go_down()
        for attempt in (store.fleet.check, store.fleet.instance):
            with pytest.raises(StorageUnavailable):
                await attempt()
        proxy.come_back()
        await works_again(store.fleet.check)
        assert await world.post("m")


@postgres_only
async def test_no_server_at_the_start_is_unavailable(settings: Settings) -> None:
    async with proxied(settings) as proxy:
        proxy.go_down()
        with pytest.raises(StorageUnavailable):
            async with on_postgres(through(proxy, settings)):
                pass


@postgres_only
async def test_a_backend_terminated_in_the_middle_leaves_nothing_behind(settings: Settings) -> None:
    die = "SELECT pg_terminate_backend(pg_backend_pid())"
    async with on_postgres(settings.database.url, die=die) as store:

        def dying() -> Work[None]:
            yield (Step("suspend", {"tenant": 7, "batch_code": ""}),)
            yield (Step("die"),)

        with pytest.raises(StorageUnavailable) as refused:
            await store.engine.write(dying)
        assert not isinstance(refused.value, CommitUnknown)
        await works_again(store.fleet.check)
        assert await store.engine.read(lambda: one("suspended_batches", tenant=7)) == []


@postgres_only
async def test_a_restart_between_calls_goes_unnoticed(settings: Settings) -> None:
    async with on_postgres(settings.database.url) as store:
        await asyncio.gather(*(store.fleet.check() for _ in range(20)))
        killed = run_sql(
            settings.database,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE application_name = 'mailproxy test' AND datname = current_database()",
        )
        assert killed[0][0] >= 1
        await asyncio.gather(*(store.fleet.check() for _ in range(20)))


@postgres_only
async def test_a_read_only_server_is_unavailable_until_it_is_not(settings: Settings) -> None:
    name = psycopg.conninfo.conninfo_to_dict(settings.database.url)["dbname"]
    run_sql(settings.database, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    async with on_postgres(settings.database.url) as store:
        with pytest.raises(StorageUnavailable) as refused:
            await store.fleet.check()
        assert refused.value.error_code == "storage_read_only"
        assert await store.fleet.instance()
        with psycopg.connect(settings.database.url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'.encode())
        await works_again(store.fleet.check)


@postgres_only
async def test_too_few_connections_make_calls_wait_not_fail(settings: Settings) -> None:
    role = f"few_{os.getpid()}"
    for statement in (
        f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 2",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}",
    ):
        run_sql(settings.database, statement)
    url = psycopg.conninfo.make_conninfo(settings.database.url, user=role)
    try:
        async with on_postgres(url, connections=8) as store:
            await asyncio.gather(*(store.fleet.check() for _ in range(100)))
            with pytest.raises(StorageUnavailable):
                async with on_postgres(url):
                    pass
            await store.fleet.check()
    finally:
        run_sql(settings.database, f"DROP OWNED BY {role}")
        run_sql(settings.database, f"DROP ROLE {role}")


@postgres_only
async def test_two_units_that_lock_each_other_out_both_go_through(settings: Settings) -> None:
    lock = "SELECT pg_advisory_xact_lock(%(key)s)"
    async with on_postgres(settings.database.url, lock=lock) as store:

        def locking(first: int, second: int) -> Work[int]:
            yield (Step("lock", {"key": first}),)
            yield (Step("instance_bits"),)
            yield (Step("lock", {"key": second}),)
            return second

        found = await asyncio.gather(
            *(store.engine.write(lambda a=a, b=b: locking(a, b)) for a, b in ((1, 2), (2, 1)))  # type: ignore[misc]
        )
        assert found == [2, 1]
