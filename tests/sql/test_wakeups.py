"""Hints between processes: they reach listeners soon, are few, and never raise."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mailproxy.config import Settings
from sql.coalesce import INTERVAL_S
from sql.open import open_store
from sql.sqlite.wakeups import SqliteWakeups, folder_for
from sql.store import SqlStore


async def heard(topics: AsyncIterator[str], within: float = 5.0) -> str:
    return await asyncio.wait_for(anext(topics), within)


async def listening(store: SqlStore, topics: AsyncIterator[str]) -> None:
    """A hint sent before LISTEN is in force is lost, so send until one arrives."""
    waiting = asyncio.ensure_future(anext(topics))
    while not waiting.done():
        await store.wakeups.announce("hello")
        await asyncio.wait([waiting], timeout=0.05)


async def test_an_announcement_reaches_every_listener(store: SqlStore, settings: Settings) -> None:
    elsewhere = await open_store(settings, role="other")
    try:
        async with store.wakeups.listen() as here, elsewhere.wakeups.listen() as there:
            await asyncio.gather(listening(store, here), listening(store, there))
            await store.wakeups.announce("queue")
            for topics in (here, there):
                while await heard(topics) != "queue":
                    pass
            await elsewhere.wakeups.announce("reports")
            for topics in (here, there):
                while await heard(topics) != "reports":
                    pass
    finally:
        await elsewhere.aclose()


async def test_a_burst_becomes_two_hints(store: SqlStore) -> None:
    async with store.wakeups.listen() as topics:
        await listening(store, topics)
        for _ in range(1000):
            await store.wakeups.announce("queue")
        assert [t for t in await _until_quiet(topics) if t == "queue"] == ["queue", "queue"]


async def _until_quiet(topics: AsyncIterator[str]) -> list[str]:
    found = []
    waiting = asyncio.ensure_future(anext(topics))
    while (await asyncio.wait([waiting], timeout=INTERVAL_S * 4))[0]:
        found.append(waiting.result())
        waiting = asyncio.ensure_future(anext(topics))
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return found


async def test_nobody_listening_is_no_trouble(store: SqlStore) -> None:
    await store.wakeups.announce()
    await store.wakeups.announce("reports")


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Short enough for the name of a socket, which a test's own folder is not always."""
    with tempfile.TemporaryDirectory(prefix="mp-") as folder:
        yield Path(folder)


async def test_the_last_listener_leaves_no_folder_behind(short_path: Path) -> None:
    folder = short_path / "mail.db.state" / "wake"
    wakeups = SqliteWakeups(short_path / "mail.db")
    async with wakeups.listen(), wakeups.listen():
        assert len(list(folder.iterdir())) == 2
    assert not folder.exists()
    await wakeups.aclose()


async def test_a_path_too_long_for_a_socket_is_served_from_the_temporary_folder(tmp_path: Path) -> None:
    wakeups = SqliteWakeups(tmp_path / ("x" * 100) / "mail.db")
    try:
        async with wakeups.listen() as topics:
            await wakeups.announce("queue")
            assert await heard(topics) == "queue"
        assert not folder_for(tmp_path / ("x" * 100) / "mail.db").exists()
    finally:
        await wakeups.aclose()


async def test_a_folder_that_cannot_be_used_only_means_no_hints(short_path: Path) -> None:
    (short_path / "mail.db.state").write_text("in the way")
    wakeups = SqliteWakeups(short_path / "mail.db")
    try:
        async with wakeups.listen() as topics:
            await wakeups.announce("queue")
            with pytest.raises(TimeoutError):
                await heard(topics, within=0.1)
    finally:
        await wakeups.aclose()
