"""Attachments above a tenant's limit, from the queue to the server's mailbox."""

import asyncio
import base64
import email
import email.policy
import json
import os
import re
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from mailproxy.attachments import links
from mailproxy.config import Settings
from mailproxy.model import State
from mailproxy.records import TenantWrite
from sql.store import SqlStore
from tests.sender.world import World, details, make_world
from tests.support.s3 import s3_server
from tests.support.smtp import Sink

SQLITE = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
CONTENT = os.urandom(2 * 1024 * 1024)
PUBLIC = "https://mail.example.com"


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[Sink]:
    async with Sink(tmp_path / "sink.log", keep=tmp_path) as server:
        yield server


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    (tmp_path / "files").mkdir()
    changes = {"large_file_base_dir": (tmp_path / "files",), "retry_delays": (0.05,), "max_retries": 50}
    return settings.model_copy(update=changes)


@pytest.fixture
async def world(store: SqlStore, settings: Settings, sink: Sink) -> World:
    return await make_world(store, settings, sink.port, retry_delays=(0.05,), max_retries=50)


async def configure(world: World, secrets: dict[str, str] | None = None, **fields: Any) -> None:
    config = {"enabled": True, "max_size_mb": 1, "set_by_tenant": False, **fields}
    write = TenantWrite(id="acme", large_file_config=json.dumps(config), large_file_secrets=secrets or {})
    await world.store.directory.put_tenant(write, None, None)


async def rewriting(world: World, tmp_path: Path, **fields: Any) -> Path:
    """Large attachments become links of our own; the folder that holds them."""
    folder = tmp_path / "files" / "acme"
    await configure(world, action="rewrite", storage_url=f"file://{folder}", public_base_url=PUBLIC, **fields)
    return folder


async def post(world: World, **fields: Any) -> str:
    parts = [("small.txt", b"small"), ("Größe 1.bin", CONTENT)]
    attachments = [
        {"filename": name, "fetch_mode": "base64", "storage_path": base64.b64encode(octets).decode()}
        for name, octets in parts
    ]
    [id_] = await world.post(content={"attachments": attachments, **fields})
    return id_


async def tried(world: World, id_: str) -> None:
    """Wait for the end of the first attempt, which did not succeed."""
    async with asyncio.timeout(20.0):
        while not await world.events(id_):
            await asyncio.sleep(0.02)


def mails(sink: Sink) -> list[EmailMessage]:
    found = [email.message_from_bytes(one, policy=email.policy.default) for one in sink.contents()]
    assert all(isinstance(one, EmailMessage) for one in found)
    return found  # type: ignore[return-value]


def attached(mail: EmailMessage) -> list[str | None]:
    return [part.get_filename() for part in mail.iter_attachments()]


def text_of(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


async def test_a_large_attachment_becomes_a_link_that_opens_it(
    world: World, sink: Sink, tmp_path: Path
) -> None:
    folder = await rewriting(world, tmp_path)
    await post(world)
    async with world.sender():
        await world.all_in(State.SENT)
    [mail] = mails(sink)
    assert attached(mail) == ["small.txt"]
    found = re.search(r"Größe 1\.bin \(2\.0 MB\): (\S+)", text_of(mail))
    assert found is not None
    _, _, token, name = urlsplit(found[1]).path.split("/")
    opened = links.opened(await world.store.large_files.link_key(), token, unquote(name))
    assert opened is not None
    assert (folder / opened.object).read_bytes() == CONTENT
    assert [file.name for file in folder.iterdir()] == [opened.object]


@SQLITE
async def test_every_attempt_says_the_same_link_and_stores_nothing_twice(
    world: World, sink: Sink, tmp_path: Path
) -> None:
    folder = await rewriting(world, tmp_path)
    id_ = await post(world)
    sink.manners.replies["dot"] = "451 4.3.0 Later"
    async with world.sender():
        await tried(world, id_)
        [file] = await world.store.large_files.of_message((await world.view(id_)).id, 0)
        await configure(world, action="warn")
        del sink.manners.replies["dot"]
        await world.all_in(State.SENT)
    [mail] = mails(sink)
    assert file.url is not None
    assert file.url in text_of(mail)
    assert [one.name for one in folder.iterdir()] == [file.object]


@SQLITE
async def test_while_nothing_can_be_stored_the_message_waits_and_then_goes(
    world: World, sink: Sink, tmp_path: Path
) -> None:
    folder = await rewriting(world, tmp_path)
    folder.write_text("in the way")
    id_ = await post(world)
    async with world.sender():
        await tried(world, id_)
        assert sink.contents() == []
        folder.unlink()
        await world.all_in(State.SENT)
    kind, detail = details(await world.events(id_))[0]
    assert kind == "deferred"
    assert "Large file upload failed for Größe 1.bin" in json.dumps(detail, ensure_ascii=False)
    assert len(list(folder.iterdir())) == 1
    assert len(mails(sink)) == 1


@SQLITE
async def test_an_attachment_above_the_limit_may_be_an_error(world: World, sink: Sink) -> None:
    await configure(world, action="reject")
    id_ = await post(world)
    async with world.sender():
        await world.all_in(State.ERROR)
    assert (await world.view(id_)).error == "Attachment 'Größe 1.bin' (2.0 MB) exceeds limit (1.0 MB)"
    assert sink.contents() == []


@SQLITE
@pytest.mark.parametrize(
    "fields", [{"action": "warn"}, {"action": "rewrite"}, {"action": "reject", "enabled": False}]
)
async def test_otherwise_it_is_attached_as_any_other(
    world: World, sink: Sink, fields: dict[str, Any]
) -> None:
    await configure(world, **fields)
    await post(world)
    async with world.sender():
        await world.all_in(State.SENT)
    [mail] = mails(sink)
    assert attached(mail) == ["small.txt", "Größe 1.bin"]


@SQLITE
async def test_a_storage_in_the_cloud_signs_the_link_itself(world: World, sink: Sink) -> None:
    with s3_server("files") as url:
        await configure(
            world,
            {"key": "k", "secret": "s"},
            action="rewrite",
            storage_url="s3://files/acme",
            storage_options={"endpoint_url": url, "region": "us-east-1"},
            file_ttl_days=1,
        )
        await post(world, body_html="<html><body><p>Hi</p></body></html>")
        async with world.sender():
            await world.all_in(State.SENT)
    [mail] = mails(sink)
    page = mail.get_body(("html",))
    assert page is not None
    content = page.get_content()
    assert f'<a href="{url}/files/acme/' in content
    assert "X-Amz-Signature=" in content
    assert content.rstrip().endswith("</p></body></html>")


@SQLITE
async def test_an_image_inside_the_page_stays_where_it_is_shown(
    world: World, sink: Sink, tmp_path: Path
) -> None:
    await rewriting(world, tmp_path)
    image = {
        "filename": "logo.png",
        "fetch_mode": "base64",
        "storage_path": base64.b64encode(CONTENT).decode(),
        "inline": True,
        "content_id": "logo",
    }
    await world.post(content={"attachments": [image], "body_html": '<img src="cid:logo">'})
    async with world.sender():
        await world.all_in(State.SENT)
    assert not (tmp_path / "files" / "acme").exists()
    assert b"Content-ID: <logo>" in sink.contents()[0]
