"""Writers of several processes come to SQLite's lock in the order they asked."""

import fcntl
import threading
from contextlib import closing
from pathlib import Path

import pytest

from mailproxy.config import Settings
from mailproxy.errors import StorageUnavailable
from sql.sqlite.turn import Turn
from tests.sql.stores import on_sqlite


def test_a_turn_is_one_holders_at_a_time(tmp_path: Path) -> None:
    with closing(Turn(tmp_path / "db", 0.05)) as one, closing(Turn(tmp_path / "db", 0.05)) as other:
        assert one.take()
        assert not other.take()
        one.give()
        assert other.take()


def test_who_gave_his_turn_away_does_not_slip_past_who_waits(tmp_path: Path) -> None:
    order = []
    first, second = Turn(tmp_path / "db", 10.0), Turn(tmp_path / "db", 10.0)
    assert first.take()

    def wait() -> None:
        assert second.take()
        order.append("second")
        second.give()

    waiting = threading.Thread(target=wait)
    waiting.start()
    while nobody_is_next(tmp_path / "db-next"):
        pass
    first.give()
    assert first.take()
    order.append("first")
    waiting.join()
    assert order == ["second", "first"]
    first.close()
    second.close()


def nobody_is_next(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_turn_that_never_comes_is_a_locked_database(settings: Settings) -> None:
    path = settings.database.path
    assert path is not None
    with closing(Turn(path, 1.0)) as stuck:
        assert stuck.take()
        async with on_sqlite(path, busy_timeout=0.1) as store:
            with pytest.raises(StorageUnavailable) as refused:
                await store.fleet.check()
            assert refused.value.error_code == "storage_locked"
            stuck.give()
            await store.fleet.check()
