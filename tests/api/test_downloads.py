"""Links of our own: what they open, for how long, and what they say of anything else."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from mailproxy.attachments import links
from mailproxy.attachments.large_file import LargeFile
from mailproxy.attachments.links import Pass, new_object
from mailproxy.attachments.places import Place
from mailproxy.attachments.storage import Object, Storage
from mailproxy.config import Settings
from mailproxy.model import MessageId, TenantPk
from mailproxy.reach import Reach
from mailproxy.store import Store
from tests.api.conftest import Api
from tests.support.s3 import s3_server

CONTENT = bytes(range(256)) * 12_000
NAME = "Größe & Co <1>.html"
FAR = 4e9


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"large_file_base_dir": (tmp_path,)})


class Stored:
    """A file behind a link, and the API that serves it."""

    def __init__(self, api: Api, folder: Path, tenant: TenantPk, key: bytes) -> None:
        self.api = api
        self.folder = folder
        self.tenant = tenant
        self.key = key
        self.file = LargeFile(
            object=new_object(),
            tenant_pk=tenant,
            tenant_id="acme",
            message_id=MessageId(1),
            revision=0,
            part=0,
            filename=NAME,
            media_type="text/html",
            size=len(CONTENT),
            sha256=bytes(32),
            place=Place(f"file://{folder}"),
            expires_at=FAR,
        )

    async def keep(self, **fields: Any) -> str:
        """The path of the link."""
        self.file = replace(self.file, **fields)
        await self.api.store.large_files.begin(replace(self.file, url=None, expires_at=FAR))
        (self.folder / self.file.object).write_bytes(CONTENT)
        url = self.link(self.file.expires_at)
        await self.api.store.large_files.finish(self.file.object, url, self.file.expires_at)
        return url.removeprefix("https://x")

    def link(self, ends_at: float) -> str:
        granted = Pass(self.tenant, self.file.object, ends_at)
        return links.url("https://x", self.key, granted, self.file.filename)


@pytest.fixture
async def stored(api: Api, store: Store, tmp_path: Path) -> Stored:
    await api.tenant(account=None)
    tenant = await store.directory.tenant("acme")
    assert tenant is not None
    (tmp_path / "files").mkdir()
    return Stored(api, tmp_path / "files", tenant.pk, await store.large_files.link_key())


async def test_a_link_opens_its_file_for_whoever_has_it_and_nothing_shows_it(stored: Stored) -> None:
    path = await stored.keep()
    anybody = await stored.api.client()
    answer = await anybody.get(path)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    headers = answer.headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith("attachment; filename=")
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]
    assert headers["cache-control"] == "private, no-store"
    assert headers["content-length"] == str(len(CONTENT))


async def test_head_tells_without_sending_or_counting(stored: Stored) -> None:
    path = await stored.keep(lifespan=10.0)
    answer = await stored.api.admin.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(CONTENT))
    found = await stored.api.store.large_files.find(stored.tenant, stored.file.object)
    assert found is not None
    assert found.downloaded_at is None


async def test_a_range_is_answered_alone(stored: Stored) -> None:
    path, size = await stored.keep(), len(CONTENT)
    for asked, start, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=1000-2000000", 1000, 2000001),
        (f"bytes={size - 5}-", size - 5, size),
        ("bytes=-7", size - 7, size),
        (f"bytes=10-{size * 9}", 10, size),
    ):
        answer = await stored.api.admin.get(path, headers={"Range": asked})
        assert answer.status_code == 206, asked
        assert answer.content == CONTENT[start:end]
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"


async def test_other_ranges_get_the_whole_file_or_a_refusal(stored: Stored) -> None:
    path, size = await stored.keep(), len(CONTENT)
    for asked in ("bytes=5-3", "bytes=0-1,5-6", "lines=1-2", "bytes=a-b", "bytes=-"):
        answer = await stored.api.admin.get(path, headers={"Range": asked})
        assert (answer.status_code, len(answer.content)) == (200, size), asked
    for asked in (f"bytes={size}-", "bytes=-0"):
        answer = await stored.api.admin.get(path, headers={"Range": asked})
        assert answer.status_code == 416
        assert answer.headers["content-range"] == f"bytes */{size}"
    other = {"Range": "bytes=0-0", "If-Range": '"another"'}
    assert (await stored.api.admin.get(path, headers=other)).status_code == 200
    etag = (await stored.api.admin.head(path)).headers["etag"]
    same = {"Range": "bytes=0-0", "If-Range": etag}
    assert (await stored.api.admin.get(path, headers=same)).status_code == 206


async def test_whatever_is_forged_gets_one_and_the_same_answer(stored: Stored) -> None:
    path = await stored.keep()
    _, _, token, name = path.split("/")
    version, tenant, name_of_object, ends_at, key, mac = token.split(".")
    forged = [
        ".".join(
            (version, tenant, name_of_object, ends_at, key, mac[:-1] + ("A" if mac[-1] != "A" else "E"))
        ),
        ".".join((version, str(int(tenant) + 1), name_of_object, ends_at, key, mac)),
        ".".join((version, tenant, new_object(), ends_at, key, mac)),
        ".".join((version, tenant, name_of_object, str(int(ends_at) + 1), key, mac)),
        ".".join((version, tenant, name_of_object, ends_at, "0" * 8, mac)),
        ".".join(("2", tenant, name_of_object, ends_at, key, mac)),
        "x",
    ]
    paths = [f"/download/{one}/{name}" for one in forged] + [f"/download/{token}/other.txt"]
    told = set()
    for one in paths:
        answer = await stored.api.admin.get(one, headers={"X-Request-ID": "same"})
        told.add((answer.status_code, answer.text))
    assert len(told) == 1
    assert next(iter(told))[0] == 403


async def test_a_link_ends_with_its_time_its_file_and_its_tenant(stored: Stored) -> None:
    ended = stored.link(time.time() - 10.0).removeprefix("https://x")
    path = await stored.keep()
    client = stored.api.admin
    assert (await client.get(ended)).status_code == 410
    assert (await client.get(path)).status_code == 200
    (stored.folder / stored.file.object).unlink()
    assert (await client.get(path)).status_code == 410
    (stored.folder / stored.file.object).write_bytes(CONTENT)
    await client.delete("/tenant/acme")
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (410, "link_ended")


async def test_a_storage_that_does_not_answer_is_no_end(stored: Stored) -> None:
    path = await stored.keep(place=Place("file:///nowhere-that-is-allowed"))
    answer = await stored.api.admin.get(path)
    assert (answer.status_code, answer.json()["code"]) == (503, "file_unavailable")
    assert "retry-after" in answer.headers


async def noted(stored: Stored) -> None:
    """It is noted when the last octet has left, behind the answer."""
    files = stored.api.store.large_files
    async with asyncio.timeout(10):
        while (found := await files.find(stored.tenant, stored.file.object)) and found.downloaded_at is None:
            await asyncio.sleep(0.01)
    assert found is not None
    assert found.expires_at < FAR


async def test_the_first_whole_download_is_noted_and_parts_of_it_are_not(stored: Stored) -> None:
    path = await stored.keep(lifespan=1000.0)
    etag = (await stored.api.admin.head(path)).headers["etag"]
    for part in ({"Range": "bytes=0-10"}, {"Range": "bytes=-1"}, {"Range": "bytes=10-"}):
        assert (await stored.api.admin.get(path, headers=part)).status_code == 206
    tail = {"Range": "bytes=-1", "If-Range": etag}
    assert (await stored.api.admin.get(path, headers=tail)).status_code == 206
    found = await stored.api.store.large_files.find(stored.tenant, stored.file.object)
    assert found is not None
    assert found.downloaded_at is None
    await stored.api.admin.get(path)
    await noted(stored)


async def test_a_download_that_is_resumed_to_its_end_is_noted(stored: Stored) -> None:
    path = await stored.keep(lifespan=1000.0)
    etag = (await stored.api.admin.head(path)).headers["etag"]
    rest = {"Range": "bytes=2000000-", "If-Range": etag}
    answer = await stored.api.admin.get(path, headers=rest)
    assert (answer.status_code, answer.content) == (206, CONTENT[2_000_000:])
    await noted(stored)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_links_stay_when_the_admin_saves_what_the_tenant_had_set(stored: Stored) -> None:
    with s3_server("files") as url:
        options = {"endpoint_url": url, "region": "us-east-1"}
        path = await stored.keep(place=Place("s3://files", options, set_by_tenant=True), size=3)
        storage = Storage((), 30.0, Reach())
        target = Object(Place("s3://files", options), stored.file.object, {"key": "k", "secret": "s"})
        assert await storage.put(target, lambda: [b"abc"], 3, filename="f", media_type="a/b") is None
        storage.close()
        config = {"storage_url": "s3://files", "storage_options": {**options, "key": "k", "secret": "s"}}
        saved = await stored.api.admin.put("/tenant/acme", json={"large_file_config": config})
        assert saved.status_code == 200, saved.text
        answer = await stored.api.admin.get(path)
        assert (answer.status_code, answer.content) == (200, b"abc")


async def test_nothing_but_get_and_head_is_answered(stored: Stored) -> None:
    path = await stored.keep()
    for method in ("POST", "PUT", "DELETE"):
        answer = await _ask(stored.api.admin, method, path)
        assert answer.status_code == 405


async def _ask(client: httpx.AsyncClient, method: str, path: str) -> httpx.Response:
    return await client.request(method, path)
