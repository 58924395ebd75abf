"""Objects in storages: S3 on loopback, directories, and what the clients of the clouds are told."""

import asyncio
import json
import socket
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import fsspec
import pytest

from mailproxy import egress
from mailproxy.attachments import backends, storage
from mailproxy.attachments.places import Place
from mailproxy.attachments.storage import Failed, Object, Storage
from mailproxy.attachments.threads import Room
from mailproxy.reach import Reach
from tests.support.s3 import s3_server
from tests.support.silent import silent_server

NAME = "ab" * 16
SECRETS = {"key": "k", "secret": "the-secret"}
CONTENT = bytes(range(256)) * 4096
PATIENT = 60.0


def pieces(content: bytes = CONTENT) -> Callable[[], Iterator[bytes]]:
    return lambda: (content[start : start + 100_000] for start in range(0, len(content), 100_000))


@asynccontextmanager
async def _storage(
    *base_dirs: Path, timeout: float = PATIENT, reach: Reach | None = None, room: Room | None = None
) -> AsyncIterator[Storage]:
    found = Storage(base_dirs, timeout, reach or Reach(), room)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server("files") as url:
        yield url


def _in_s3(url: str, bucket: str = "files/sub", *, by_tenant: bool = False) -> Object:
    options = {"endpoint_url": url, "region": "us-east-1"}
    return Object(Place(f"s3://{bucket}", options, by_tenant), NAME, SECRETS)


# -- S3


async def test_an_object_is_stored_whole_and_read_in_ranges(s3: str) -> None:
    wanted = _in_s3(s3)
    async with _storage() as found:
        assert (
            await found.put(
                wanted, pieces(), len(CONTENT), filename="Größe.pdf", media_type="application/pdf"
            )
            is None
        )
        assert await found.read(wanted, 1000, 300_000) == CONTENT[1000:300_000]
        assert await found.remove(wanted) is None
        gone = await found.read(wanted, 0, 10)
        assert isinstance(gone, Failed)
        assert gone.gone
        assert await found.remove(wanted) is None


async def test_a_signed_link_has_the_file_saved_under_its_name(s3: str) -> None:
    wanted = _in_s3(s3)
    async with _storage() as found:
        await found.put(wanted, pieces(), len(CONTENT), filename="Größe.html", media_type="text/html")
        url = await found.link(wanted, "Größe.html", 600.0)
    assert isinstance(url, str)
    assert "X-Amz-Signature" in url

    def get() -> tuple[bytes, str, str]:
        with urllib.request.urlopen(url) as answer:
            return answer.read(), answer.headers["Content-Type"], answer.headers["Content-Disposition"]

    body, kind, saved_as = await asyncio.to_thread(get)
    assert (body, kind) == (CONTENT, "application/octet-stream")
    assert "filename*=UTF-8''Gr%C3%B6%C3%9Fe.html" in saved_as


async def test_the_objects_key_tells_nothing_of_the_file(s3: str) -> None:
    wanted = _in_s3(s3)
    async with _storage() as found:
        await found.put(wanted, pieces(), len(CONTENT), filename="../../etc/passwd", media_type="text/plain")
    with urllib.request.urlopen(f"{s3}/files") as answer:
        assert f"<Key>sub/{NAME}</Key>" in answer.read().decode()


@pytest.mark.parametrize("bucket", ["nowhere"])
async def test_a_bucket_that_is_not_there_is_a_failure_with_its_cause(s3: str, bucket: str) -> None:
    async with _storage() as found:
        failed = await found.put(_in_s3(s3, bucket), pieces(), len(CONTENT), filename="f", media_type="a/b")
    assert failed is not None
    assert "bucket" in failed.cause


async def test_a_server_that_is_down_is_a_failure(unused_tcp_port: int) -> None:
    wanted = _in_s3(f"http://127.0.0.1:{unused_tcp_port}")
    async with _storage() as found:
        failed = await found.put(wanted, pieces(), len(CONTENT), filename="f", media_type="a/b")
    assert failed is not None
    assert "the-secret" not in failed.cause


async def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        wanted = _in_s3(f"http://127.0.0.1:{silent.getsockname()[1]}")
        async with _storage(timeout=0.5) as found:
            assert isinstance(await found.read(wanted, 0, 1), Failed)


async def test_a_storage_that_hangs_holds_up_no_other_and_is_not_asked_again_until_it_lets_go(
    s3: str,
) -> None:
    async with silent_server() as silent, _storage(room=Room(patience=0.1)) as found:
        hanging = _in_s3(silent.url)
        held = [asyncio.create_task(found.read(hanging, 0, 1)) for _ in range(Room().for_one)]
        await silent.until_asked(len(held))
        assert await found.read(hanging, 0, 1) == Failed("others still wait for the storage", tried=False)
        wanted = _in_s3(s3)
        assert await found.put(wanted, pieces(), len(CONTENT), filename="f", media_type="a/b") is None
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        again = await found.read(hanging, 0, 1)
        assert again == Failed("others still wait for the storage", tried=False), "their threads still hang"
        silent.hang_up()


async def test_a_stored_object_of_another_size_is_a_failure(tmp_path: Path) -> None:
    wanted = Object(Place(f"file://{tmp_path}/files"), NAME)
    async with _storage(tmp_path) as found:
        failed = await found.put(wanted, pieces(), len(CONTENT) + 1, filename="f", media_type="a/b")
    assert failed is not None
    assert "were stored" in failed.cause


# -- what a tenant set


async def test_a_tenants_storage_is_reached_where_tenants_may_point(s3: str) -> None:
    wanted = _in_s3(s3, by_tenant=True)
    async with _storage(reach=Reach(egress.allowed(["127.0.0.1"]))) as found:
        assert await found.put(wanted, pieces(), len(CONTENT), filename="f", media_type="a/b") is None


async def test_a_tenants_storage_at_a_private_address_is_not_reached(s3: str) -> None:
    async with _storage() as found:
        failed = await found.read(_in_s3(s3, by_tenant=True), 0, 1)
    assert isinstance(failed, Failed)
    assert "a loopback address" in failed.cause


async def test_a_name_that_leads_to_a_private_address_is_not_reached(s3: str) -> None:
    async def rebinding(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    url = s3.replace("127.0.0.1", "storage.example.com")
    async with _storage(reach=Reach(resolver=rebinding)) as found:
        failed = await found.read(_in_s3(url, by_tenant=True), 0, 1)
    assert isinstance(failed, Failed)
    assert not failed.gone


# -- directories


async def test_a_directory_holds_objects_below_the_operators_base(tmp_path: Path) -> None:
    wanted = Object(Place(f"file://{tmp_path}/files/acme"), NAME)
    async with _storage(tmp_path / "files") as found:
        assert await found.put(wanted, pieces(), len(CONTENT), filename="../x", media_type="a/b") is None
        assert (tmp_path / "files/acme" / NAME).read_bytes() == CONTENT
        assert [path.name for path in (tmp_path / "files/acme").iterdir()] == [NAME]
        assert await found.read(wanted, 5, 10) == CONTENT[5:10]
        assert await found.remove(wanted) is None
        assert isinstance(await found.read(wanted, 5, 10), Failed)


async def test_what_was_stored_in_part_does_not_stay(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    wanted = Object(Place(f"file://{folder}"), NAME)

    def unreadable() -> Iterator[bytes]:
        yield b"abc"
        raise OSError("the spool is gone")

    async with _storage(tmp_path) as found:
        failed = await found.put(wanted, unreadable, 6, filename="f", media_type="a/b")
        assert failed is not None
        assert list(folder.iterdir()) == []
        (folder / f"{NAME}.part").write_bytes(b"its process was killed")
        assert await found.remove(wanted) is None
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("where", ["", "/files-of-others", "/link"])
async def test_a_directory_elsewhere_is_refused(tmp_path: Path, where: str) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/link").symlink_to(tmp_path)
    place = Place(f"file://{tmp_path}/files{where}" if where == "/link" else f"file://{tmp_path}{where}")
    assert storage.problem(place, [tmp_path / "files"]) is not None
    async with _storage(tmp_path / "files") as found:
        failed = await found.put(Object(place, NAME), pieces(), len(CONTENT), filename="f", media_type="a/b")
    assert failed is not None
    assert "GMP_LARGE_FILE_BASE_DIR" in failed.cause


async def test_a_directory_is_never_a_tenants(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"somebody else's")
    async with _storage(tmp_path) as found:
        failed = await found.read(Object(Place(f"file://{tmp_path}", set_by_tenant=True), NAME), 0, 1)
    assert isinstance(failed, Failed)
    assert "only the admin" in failed.cause


def test_directories_are_off_until_the_operator_names_one(tmp_path: Path) -> None:
    reason = storage.problem(Place(f"file://{tmp_path}"), [])
    assert reason is not None
    assert "GMP_LARGE_FILE_BASE_DIR" in reason


async def test_a_directory_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("not a directory")
    async with _storage(tmp_path) as found:
        wanted = Object(Place(f"file://{tmp_path}/files"), NAME)
        failed = await found.put(wanted, pieces(), len(CONTENT), filename="f", media_type="a/b")
        assert failed is not None
        (tmp_path / "files").unlink()
        assert await found.put(wanted, pieces(), len(CONTENT), filename="f", media_type="a/b") is None


# -- the clouds, as far as they go without one


@pytest.mark.parametrize(("protocol", "module", "extra"), [("gs", "gcsfs", "gcs"), ("az", "adlfs", "azure")])
def test_a_missing_package_is_named_with_its_extra(protocol: str, module: str, extra: str) -> None:
    reason = storage.problem(Place(f"{protocol}://files"), [])
    assert reason is None or (module in reason and f"mailproxy[{extra}]" in reason)


def test_google_gets_the_service_account_and_the_project() -> None:
    account = {"type": "service_account", "client_email": "x@example.com"}
    place = Place("gs://files/sub", {"project": "p"})
    found = backends.options(place, {"service_account": json.dumps(account)}, 30.0)
    assert (found["token"], found["project"], found["timeout"]) == (account, "p", 30.0)
    assert place.path(NAME) == f"files/sub/{NAME}"


def test_azure_gets_the_account_and_its_key() -> None:
    place = Place("abfs://container", {"account_name": "acme"})
    found = backends.options(place, {"account_key": "k"}, 30.0)
    assert (found["account_name"], found["account_key"], found["read_timeout"]) == ("acme", "k", 30)
    assert (place.protocol, place.path(NAME)) == ("az", f"container/{NAME}")


def test_without_credentials_of_its_own_a_client_looks_for_the_processs() -> None:
    for url in ("s3://files", "gs://files", "az://files"):
        found = backends.options(Place(url), {}, 30.0)
        assert not {"key", "secret", "token", "account_key", "sas_token"}.intersection(found)


@pytest.mark.parametrize("protocol", ["s3", "gs", "az"])
def test_every_cloud_is_told_to_have_the_file_saved(protocol: str) -> None:
    told = json.dumps(
        [backends.written_with(protocol, "ä.pdf", "a/b"), backends.signed_with(protocol, "ä.pdf")]
    )
    assert told.count("attachment; filename") == 2
    assert told.count("application/octet-stream") == 1


def test_the_file_system_of_memory_does_what_storages_are_asked() -> None:
    """cat_file, open, size and rm_file are fsspec's own words, not one backend's."""
    system = fsspec.filesystem("memory", skip_instance_cache=True)
    with system.open("/x/object", "wb", block_size=storage.BLOCK) as target:
        target.write(CONTENT)
    assert system.size("/x/object") == len(CONTENT)
    assert system.cat_file("/x/object", start=3, end=9) == CONTENT[3:9]
    system.rm_file("/x/object")
    assert not system.exists("/x/object")
