"""What is fetched once serves every message that may have it, and no other."""

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mailproxy import config
from mailproxy.attachments.cache import Cache, Disk, Kept, Memory, Wanted, serves
from mailproxy.attachments.fetch import Home
from mailproxy.attachments.held import Held, Incoming
from mailproxy.attachments.judgement import Failed
from mailproxy.attachments.sources import Sources, sources_of
from mailproxy.authorization import ClientAuth
from mailproxy.config import Settings
from mailproxy.model import FetchMode, Source, TenantPk
from tests.attachments.server import Files
from tests.support.tenant import Manners

NOW = 1_800_000_000.0


def held(content: bytes) -> Held:
    incoming = Incoming(Path("/nonexistent"))
    incoming.take(content)
    return incoming.held()


def kept(content: bytes, horizon: float = NOW) -> Kept:
    return Kept(held(content), horizon)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("wanted", "served"),
    [
        (Wanted(NOW - 1), True),
        (Wanted(NOW), True),
        (Wanted(NOW + 0.001), False),
        (Wanted(NOW + 999, md5=md5(b"a")), True),
        (Wanted(NOW - 1, md5=md5(b"b")), False),
        (Wanted(NOW + 999, sha256=sha256(b"a")), True),
        (Wanted(NOW - 1, sha256=sha256(b"b")), False),
        (Wanted(NOW - 1, md5=md5(b"b"), sha256=sha256(b"a")), False),
    ],
)
def test_an_entry_serves_who_was_accepted_before_it_or_names_its_content(
    wanted: Wanted, served: bool
) -> None:
    assert serves(kept(b"a"), wanted) == served


def test_memory_forgets_the_least_lately_used_and_what_is_too_old() -> None:
    at = 0.0
    memory = Memory(10, 60.0, lambda: at)
    for name in "abc":
        memory.put(name, kept(name.encode() * 4))
        memory.get("a")
    assert [memory.get(name) is not None for name in "abc"] == [True, False, True]
    memory.put("big", kept(b"x" * 11))
    assert memory.get("big") is None
    at = 60.0
    assert memory.get("a") is None
    memory.put("d", kept(b"x" * 10))
    assert memory.get("d") is not None, "what is gone takes no room"


class OnDisk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = NOW

    def open(self, most: int = 1000) -> Disk:
        return Disk(self.folder / "cache", most, 3600.0, self.folder / "spool", lambda: self.now)

    def files(self) -> list[Path]:
        return sorted((self.folder / "cache").glob("??/*"))


@pytest.fixture
def disk(tmp_path: Path) -> OnDisk:
    return OnDisk(tmp_path)


def test_a_disk_keeps_over_a_restart_until_its_time(disk: OnDisk) -> None:
    disk.open().put("aabb", kept(b"content"))
    found = disk.open().get("aabb", Wanted(NOW))
    assert found is not None
    assert (found.held.octets, found.horizon) == (b"content", NOW)
    assert disk.open().get("aabb", Wanted(NOW + 1)) is None
    assert disk.files()[0].stat().st_mode & 0o777 == 0o600
    disk.now += 3600.0
    assert disk.open().get("aabb", Wanted(NOW)) is None


def test_a_disk_makes_room_for_the_newest(disk: OnDisk) -> None:
    one = disk.open(most=1000)
    for number in range(8):
        disk.now += 1
        one.put(f"{number:02}key", kept(bytes([number]) * 200))
    left = [path.name for path in disk.files()]
    assert left == ["04key", "05key", "06key", "07key"] or left == ["05key", "06key", "07key"]


@pytest.mark.parametrize("damage", [b"", b"no head\n", b'{"sha256": 1}\nx', b"[]\n", None])
def test_what_is_damaged_is_not_believed_and_goes(disk: OnDisk, damage: bytes | None) -> None:
    disk.open().put("aabb", kept(b"content"))
    (path,) = disk.files()
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    os.utime(path, (NOW, NOW))
    assert disk.open().get("aabb", Wanted(NOW)) is None
    assert disk.files() == []


def test_a_folder_that_cannot_be_written_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    disk = Disk(tmp_path / "cache", 1000, 60.0, tmp_path)
    disk.put("aabb", kept(b"content"))
    assert disk.get("aabb", Wanted(NOW)) is None


def test_what_cannot_be_removed_stays_and_the_rest_makes_room(disk: OnDisk) -> None:
    in_the_way = disk.folder / "cache" / "aa" / "a-directory"
    in_the_way.mkdir(parents=True)
    os.utime(in_the_way, (NOW - 9999, NOW - 9999))
    one = disk.open(most=1000)
    one.put("01key", kept(b"x" * 800))
    disk.now += 1
    one.put("02key", kept(b"x" * 800))
    assert [path.name for path in disk.files()] == ["02key", "a-directory"]


async def test_processes_that_write_the_same_entry_leave_a_whole_one(disk: OnDisk) -> None:
    contents = [bytes([number]) * 50_000 for number in range(4)]
    with ThreadPoolExecutor(8) as threads:

        def write_and_read(number: int) -> bool:
            one = disk.open(most=1_000_000)
            one.put("aabb", kept(contents[number % 4]))
            found = one.get("aabb", Wanted(NOW))
            return found is None or found.held.octets in contents

        assert all(threads.map(write_and_read, range(40)))
    assert len(disk.files()) == 1


async def test_with_a_disk_only_what_is_short_lies_in_memory(disk: OnDisk) -> None:
    with ThreadPoolExecutor(1) as threads:
        memory = Memory(1000, 60.0)
        cache = Cache(memory, disk.open(), 100, threads)
        await cache.put("aashort", kept(b"x" * 99))
        await cache.put("bblong", kept(b"x" * 100))
        assert [path.name for path in disk.files()] == ["bblong"]
        assert memory.get("bblong") is None
        assert await cache.get("aashort", Wanted(NOW)) is not None
        assert await cache.get("bblong", Wanted(NOW)) is not None


# -- sources


@pytest.fixture
async def sources(settings_here: Settings) -> AsyncIterator[Sources]:
    made = sources_of(settings_here, 7)
    yield made
    await made.aclose()


@pytest.fixture
def settings_here(tmp_path: Path) -> Settings:
    return config.load(
        {
            "GMP_STATE_DIR": str(tmp_path / "state"),
            "GMP_FETCH_ALLOW": "127.0.0.1",
            "GMP_CACHE_DISK_DIR": str(tmp_path / "cache"),
            "GMP_CACHE_DISK_THRESHOLD_KB": "1",
        }
    )


def home(tenant: int, url: str) -> Home:
    return Home(TenantPk(tenant), url, ClientAuth(), guarded=False)


DOC = Source(FetchMode.ENDPOINT, "doc")


async def ask(sources: Sources, of: Home, accepted_at: float, **more: str) -> bytes:
    found = await sources.get(DOC, of, None, Wanted(accepted_at, **more))
    assert isinstance(found, Held)
    return b"".join(found.chunks(1000))


@pytest.mark.parametrize("size", [10, 5000])
async def test_a_tenants_content_serves_nobody_else(sources: Sources, files: Files, size: int) -> None:
    """Knowing an MD5 is not enough to get the file."""
    content = b"s" * size
    url = files.serve("/", Manners(body=content))
    assert await ask(sources, home(1, url), NOW) == content
    files.serve("/", Manners(status=403))
    assert await ask(sources, home(1, url), NOW, md5=md5(content)) == content
    found = await sources.get(DOC, home(2, url), None, Wanted(NOW, md5=md5(content)))
    assert isinstance(found, Failed)


async def test_a_message_accepted_later_sees_what_the_source_has_then(sources: Sources, files: Files) -> None:
    url = files.serve("/", Manners(body=b"old"), Manners(body=b"new"))
    assert await ask(sources, home(1, url), NOW) == b"old"
    assert await ask(sources, home(1, url), NOW - 5) == b"old"
    assert await ask(sources, home(1, url), NOW + 5) == b"new"
    assert files.asked["/"] == 2


async def test_who_names_another_md5_has_it_fetched_again(sources: Sources, files: Files) -> None:
    url = files.serve("/", Manners(body=b"old"), Manners(body=b"new"))
    assert await ask(sources, home(1, url), NOW) == b"old"
    assert await ask(sources, home(1, url), NOW, md5=md5(b"new")) == b"new"


async def test_those_who_ask_at_once_share_one_fetch(sources: Sources, files: Files) -> None:
    url = files.serve("/", Manners(body=b"once", delay=0.2))
    found = await asyncio.gather(*(ask(sources, home(1, url), NOW) for _ in range(20)))
    assert (set(found), files.asked["/"]) == ({b"once"}, 1)


async def test_whoever_gives_up_waiting_does_not_end_it_for_the_others(
    sources: Sources, files: Files
) -> None:
    url = files.serve("/", Manners(body=b"once", delay=0.3))
    first = asyncio.create_task(ask(sources, home(1, url), NOW))
    second = asyncio.create_task(ask(sources, home(1, url), NOW))
    async with asyncio.timeout(10):
        while not files.asked["/"]:
            await asyncio.sleep(0.01)
    first.cancel()
    assert await second == b"once"
    assert files.asked["/"] == 1


async def test_another_process_finds_it_on_disk(
    sources: Sources, files: Files, settings_here: Settings
) -> None:
    content = json.dumps(list(range(1000))).encode()
    url = files.serve("/", Manners(body=content))
    assert await ask(sources, home(1, url), NOW) == content
    other = sources_of(settings_here, 7)
    foreign = sources_of(settings_here, 8)
    try:
        assert await ask(other, home(1, url), NOW) == content
        assert files.asked["/"] == 1
        assert await ask(foreign, home(1, url), NOW) == content
        assert files.asked["/"] == 2, "another installation in the same folder"
    finally:
        await other.aclose()
        await foreign.aclose()
