"""SQLite's writer thread outlives whatever goes wrong around a unit: a dead one would answer nobody any more."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mailproxy.config import Settings
from mailproxy.errors import StorageUnavailable
from sql.engine import Work, one
from sql.queries import Step
from sql.sqlite.engine import connect
from sql.sqlite.turn import Turn
from tests.sql.conftest import run_sql
from tests.sql.stores import on_sqlite

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)

INSERT = "INSERT INTO suspension (tenant_pk, batch_code) VALUES (:tenant, 'x')"


class Fault:
    """Connections that, while it is `armed`, can neither commit nor roll back."""

    def __init__(self) -> None:
        self.armed = False
        self.refused: list[str] = []

    def __call__(self, path: Path, *, read_only: bool, busy_timeout: float) -> sqlite3.Connection:
        connection = connect(path, read_only=read_only, busy_timeout=busy_timeout)
        connection.set_authorizer(self._authorise)
        return connection

    def _authorise(self, action: int, what: str | None, *_: str | None) -> int:
        if self.armed and action == sqlite3.SQLITE_TRANSACTION and what in ("COMMIT", "ROLLBACK"):
            self.refused.append(what)
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK


async def test_a_rollback_that_fails_costs_the_connection_and_not_the_thread(settings: Settings) -> None:
    assert settings.database.path is not None
    fault = Fault()
    async with on_sqlite(settings.database.path, opening=fault, insert=INSERT) as store:
        fault.armed = True
        for tenant in (1, 2):
            with pytest.raises(StorageUnavailable):
                await store.engine.write(lambda tenant=tenant: one("insert", tenant=tenant))  # type: ignore[misc]
        assert fault.refused == ["COMMIT", "ROLLBACK"] * 2
        fault.armed = False
        await store.engine.write(lambda: one("insert", tenant=3))
    assert run_sql(settings.database, "SELECT tenant_pk FROM suspension") == [(3,)]


async def test_a_database_that_cannot_be_opened_again_is_unavailable_until_it_can(
    settings: Settings,
) -> None:
    path = settings.database.path
    assert path is not None
    fault, opened = Fault(), 0

    def opening(path: Path, *, read_only: bool, busy_timeout: float) -> sqlite3.Connection:
        nonlocal opened
        opened += 1
        return fault(path if opened != 3 else path / "none", read_only=read_only, busy_timeout=busy_timeout)

    async with on_sqlite(path, opening=opening, insert=INSERT) as store:
        fault.armed = True
        with pytest.raises(StorageUnavailable):
            await store.engine.write(lambda: one("insert", tenant=1))
        fault.armed = False
        with pytest.raises(StorageUnavailable):
            await store.engine.write(lambda: one("insert", tenant=2))
        await store.engine.write(lambda: one("insert", tenant=3))
    assert opened == 4


@pytest.mark.parametrize("file", ["next", "turn"])
async def test_a_turn_that_cannot_be_taken_is_refused_and_the_next_one_asks_anew(
    settings: Settings, file: str
) -> None:
    path = settings.database.path
    assert path is not None
    async with on_sqlite(path) as store:
        await store.fleet.check()
        spoil(Path(f"{path}-{file}"))
        with pytest.raises(StorageUnavailable):
            await store.fleet.check()
        await store.fleet.check()


async def test_a_turn_that_cannot_be_given_back_keeps_nobody_out(settings: Settings) -> None:
    path = settings.database.path
    assert path is not None

    async with on_sqlite(path, insert=INSERT) as store:

        def spoiling() -> Work[None]:
            yield (Step("insert", {"tenant": 1}),)
            spoil(Path(f"{path}-turn"))

        await store.engine.write(spoiling)
        with closing(Turn(path, 1.0)) as another:
            assert another.take()
            another.give()
        await store.engine.write(lambda: one("insert", tenant=2))
    assert run_sql(settings.database, "SELECT tenant_pk FROM suspension") == [(1,), (2,)]


def spoil(path: Path) -> None:
    """Make this process's descriptor of a file one that can be closed but not locked."""
    descriptors = Path("/proc/self/fd")
    (mine,) = (int(fd.name) for fd in descriptors.iterdir() if fd.is_symlink() and fd.readlink() == path)
    useless = os.open("/", os.O_PATH)
    os.dup2(useless, mine)
    os.close(useless)
