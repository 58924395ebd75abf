"""What a commit means, and what trouble with SQLite becomes (RELIABILITY A1, F23, F25)."""

import asyncio
import os
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest

from mailproxy.config import Settings
from mailproxy.errors import StorageUnavailable
from mailproxy.model import State
from sql.engine import Engine, Work, one
from sql.open import open_store
from sql.queries import Step
from sql.queue import FRESH
from tests.sql.conftest import World, back, run_sql
from tests.sql.stores import a_world, on_postgres, on_sqlite

postgres_only = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
sqlite_only = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@postgres_only
async def test_a_commit_is_durable_whatever_the_database_is_set_to(settings: Settings) -> None:
    name = psycopg.conninfo.conninfo_to_dict(settings.database.url)["dbname"]
    run_sql(settings.database, f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    asked = "SELECT current_setting('synchronous_commit')"
    async with on_postgres(settings.database.url, connections=1, asked=asked) as store:
        assert await store.engine.write(lambda: one("asked")) == [("on",)]
        assert await store.engine.write_soon(lambda: one("asked")) == [("off",)]
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
            world = await a_world(store)
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


async def test_a_closed_store_says_so(settings: Settings) -> None:
    store = await open_store(settings, role="test")
    await store.aclose()
    with pytest.raises(StorageUnavailable):
        await store.fleet.check()
