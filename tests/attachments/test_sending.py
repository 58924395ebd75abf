"""Messages with attachments that are fetched, from the queue to the server's mailbox."""

import asyncio
import base64
import dataclasses
import email
import email.policy
import hashlib
import json
import os
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from mailproxy.authorization import ClientAuth
from mailproxy.config import Settings
from mailproxy.model import State
from mailproxy.records import Claim, TenantWrite
from sql.store import SqlStore
from tests.attachments.server import Files
from tests.sender.world import World, make_world
from tests.support.smtp import Sink
from tests.support.tenant import Manners

SQLITE = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@pytest.fixture
async def files() -> AsyncIterator[Files]:
    async with Files() as server:
        yield server


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[Sink]:
    async with Sink(tmp_path / "sink.log", keep=tmp_path) as server:
        yield server


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    (tmp_path / "files").mkdir()
    return settings.model_copy(
        update={
            "attachment_base_dir": (tmp_path / "files",),
            "attachment_timeout": 5.0,
            "fetch_allow": ("127.0.0.1",),
            "retry_delays": (0.05,),
        }
    )


@pytest.fixture
async def world(store: SqlStore, settings: Settings, sink: Sink, files: Files) -> World:
    made = await make_world(store, settings, sink.port, retry_delays=(0.05,))
    await tell(made, files, ClientAuth("bearer", token="ours"))
    return made


async def tell(world: World, files: Files, auth: ClientAuth) -> None:
    write = TenantWrite(id="acme", client_base_url=files.url, client_auth=auth)
    await world.store.directory.put_tenant(write, None, None)


async def post(world: World, *parts: dict[str, Any], n: int = 1) -> list[str]:
    return await world.post(n=n, content={"attachments": list(parts)})


def parts_of(sink: Sink) -> list[list[tuple[str, bytes]]]:
    found = []
    for content in sink.contents():
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        found.append([(part.get_filename() or "", part.get_content()) for part in message.iter_attachments()])
    return found


@SQLITE
async def test_every_mode_brings_its_content(
    world: World, files: Files, sink: Sink, settings: Settings
) -> None:
    Path(settings.attachment_base_dir[0], "sub").mkdir()
    Path(settings.attachment_base_dir[0], "sub", "a.bin").write_bytes(b"from a file")
    files.serve("/mail-proxy/attachments", Manners(body=b"from the endpoint"))
    url = files.serve("/public/c.bin", Manners(body=b"from a url"))
    parts = [
        {"filename": "a.bin", "storage_path": "sub/a.bin", "fetch_mode": "filesystem"},
        {"filename": "b.bin", "storage_path": "doc:17"},
        {"filename": "c.bin", "storage_path": url},
        {"filename": "d.bin", "storage_path": "aW5saW5l", "fetch_mode": "base64"},
        {"filename": "e.bin", "storage_path": f"{settings.attachment_base_dir[0]}/sub/a.bin"},
    ]
    await post(world, *parts)
    async with world.sender():
        await world.all_in(State.SENT)
    assert parts_of(sink) == [
        [
            ("a.bin", b"from a file"),
            ("b.bin", b"from the endpoint"),
            ("c.bin", b"from a url"),
            ("d.bin", b"inline"),
            ("e.bin", b"from a file"),
        ]
    ]
    endpoint, url_asked = files.requests
    assert (endpoint.method, json.loads(endpoint.body)) == ("POST", {"storage_path": "doc:17"})
    assert endpoint.headers["authorization"] == "Bearer ours"
    assert url_asked.method == "GET"
    assert "authorization" not in url_asked.headers


@SQLITE
async def test_an_attachments_own_login_is_sent_to_where_it_lies(world: World, files: Files) -> None:
    files.serve("/mail-proxy/attachments", Manners(body=b"from the endpoint"))
    auth = {"method": "bearer", "token": "its-own"}
    await post(world, {"filename": "a.bin", "storage_path": "doc", "fetch_mode": "endpoint", "auth": auth})
    async with world.sender():
        await world.all_in(State.SENT)
    assert [asked.headers["authorization"] for asked in files.requests] == ["Bearer its-own"]


@SQLITE
async def test_what_fails_for_a_moment_is_fetched_again(world: World, files: Files, sink: Sink) -> None:
    files.serve("/mail-proxy/attachments", Manners(status=503), Manners(reset=True), Manners(body=b"late"))
    (id_,) = await post(world, {"filename": "a.bin", "storage_path": "doc"})
    async with world.sender():
        await world.all_in(State.SENT)
    events = await world.events(id_)
    assert [str(event.event_type) for event in events] == ["deferred", "deferred", "sent"]
    assert events[0].detail.error == "Attachment fetch failed for a.bin: the server answered 503"
    assert parts_of(sink) == [[("a.bin", b"late")]]


@SQLITE
async def test_what_is_gone_ends_the_message_with_the_cause(world: World, files: Files) -> None:
    (gone,) = await post(world, {"filename": "a.bin", "storage_path": f"{files.url}/none"})
    files.serve("/mail-proxy/attachments", Manners(body=b"other"))
    (wrong,) = await post(world, {"filename": "b_{MD5:" + "0" * 32 + "}.bin", "storage_path": "doc"})
    async with world.sender():
        await world.all_in(State.ERROR)
    view = await world.view(gone)
    assert view.error == "Attachment fetch failed for a.bin: attachment_gone: the server answered 404"
    digest = hashlib.md5(b"other").hexdigest()
    assert (await world.view(wrong)).error == (
        f"Attachment fetch failed for b.bin: attachment_mismatch: its MD5 is {digest}, not {'0' * 32}"
    )


@SQLITE
async def test_a_source_that_hangs_holds_up_nobody_else(
    world: World, files: Files, sink: Sink, settings: Settings
) -> None:
    """F43: neither a server that never answers nor one that drips; a FIFO is not even waited for."""
    os.mkfifo(settings.attachment_base_dir[0] / "fifo")
    files.serve("/mail-proxy/attachments", Manners(hang=True))
    hanging = await post(world, {"filename": "a.bin", "storage_path": "doc"}, n=40)
    (fifo,) = await post(world, {"filename": "a.bin", "storage_path": "fifo", "fetch_mode": "filesystem"})
    plain = await world.post(n=30)
    world.settings = world.settings.model_copy(update={"attachment_timeout": 600.0})
    async with world.sender():
        await world.until(lambda states: {states[id_] for id_ in plain} == {State.SENT})
        await world.until(lambda states: states[fifo] is State.ERROR)
        states = await world.states()
    assert State.SENT not in {states[id_] for id_ in hanging}
    assert "not a regular file" in ((await world.view(fifo)).error or "")
    assert files.most <= 3


@SQLITE
async def test_a_stop_gives_back_what_was_being_fetched(world: World, files: Files) -> None:
    files.serve("/mail-proxy/attachments", Manners(hang=True))
    (id_,) = await post(world, {"filename": "a.bin", "storage_path": "doc"})
    async with world.sender():
        async with asyncio.timeout(20):
            while not files.requests:
                await asyncio.sleep(0.01)
    view = await world.view(id_)
    assert (view.state, view.attempts) == (State.PENDING, 0)


@SQLITE
async def test_many_large_messages_wait_for_their_turn(
    world: World, files: Files, sink: Sink, settings: Settings
) -> None:
    """F42: with a budget of 1 MB an attachment of 2 MB is only fetched when nothing else is held."""
    files.serve("/mail-proxy/attachments", Manners(body=b"x" * 2_000_000))
    for number in range(6):
        await post(world, {"filename": "a.bin", "storage_path": f"doc:{number}"})
    world.settings = world.settings.model_copy(update={"attachment_budget_mb": 1})
    async with world.sender():
        await world.all_in(State.SENT, seconds=60)
    assert len(sink.messages()) == 6
    assert files.most == 1


@SQLITE
async def test_the_same_attachment_in_many_messages_is_fetched_once(
    world: World, files: Files, sink: Sink
) -> None:
    files.serve("/mail-proxy/attachments", Manners(body=b"x" * 20_000))
    await post(world, {"filename": "a.bin", "storage_path": "doc"}, n=1000)
    async with world.sender():
        await world.all_in(State.SENT, seconds=60)
    assert len(sink.messages()) == 1000
    assert files.asked["/mail-proxy/attachments"] == 1


@SQLITE
async def test_a_second_attempt_takes_what_the_first_one_left_in_the_cache(
    world: World, files: Files, sink: Sink
) -> None:
    files.serve("/mail-proxy/attachments", Manners(body=b"one"), Manners(body=b"two"))
    part = {"filename": "a.bin", "storage_path": "doc"}
    await world.post("defer451x3@example.com", content={"attachments": [part]})
    async with world.sender():
        await world.all_in(State.SENT)
    assert parts_of(sink) == [[("a.bin", b"one")]]


@SQLITE
async def test_a_second_attempt_sends_what_the_first_one_fetched_or_nothing(
    world: World, files: Files, sink: Sink
) -> None:
    files.serve("/mail-proxy/attachments", Manners(body=b"one"), Manners(body=b"one"), Manners(body=b"two"))
    part = {"filename": "a.bin", "storage_path": "doc"}
    (id_,) = await world.post("defer451x3@example.com", content={"attachments": [part]})
    world.settings = world.settings.model_copy(update={"cache_memory_max_mb": 0})
    async with world.sender():
        await world.all_in(State.ERROR)
    assert (await world.view(id_)).error == (
        "Attachment fetch failed for a.bin: attachment_mismatch: it is not what was fetched for the first attempt"
    )
    assert sink.messages() == []


async def test_long_payloads_are_read_when_there_is_room_for_them(world: World, sink: Sink) -> None:
    """F42, with what came in base64: the budget holds one of them at a time."""
    content = bytes(range(256)) * 4096
    part = {"filename": "a.bin", "storage_path": base64.b64encode(content).decode(), "fetch_mode": "base64"}
    await post(world, part, n=5)
    (claimed,) = (await claim_one(world)).messages
    assert (claimed.payload, claimed.left_behind > 1_300_000) == ("", True)
    world.settings = world.settings.model_copy(update={"attachment_budget_mb": 2})
    async with world.sender(succeeds=("test/one",)):
        await world.all_in(State.SENT)
    assert parts_of(sink) == [[("a.bin", content)]] * 5


async def kept(world: World, content: bytes) -> dict[str, Any]:
    """An attachment whose content is with the store, as the API leaves it there."""
    sha256 = hashlib.sha256(content).hexdigest()
    await world.store.contents.keep(world.tenant, sha256, [content[:70_000], content[70_000:]])
    path = f"sha256:{sha256}"
    return {"filename": "k.bin", "storage_path": path, "size": len(content), "fetch_mode": "base64"}


async def test_what_is_with_the_store_arrives_beside_what_is_fetched(
    world: World, files: Files, sink: Sink
) -> None:
    """F42: of content for 3 MB there is room for one message at a time; what is deferred is sent the same again."""
    files.serve("/mail-proxy/attachments", Manners(body=b"fetched"))
    content = os.urandom(1_500_000)
    parts = [await kept(world, content), {"filename": "f.bin", "storage_path": "doc"}]
    await world.post("defer451x1@example.com", n=3, content={"attachments": parts})
    world.settings = world.settings.model_copy(update={"attachment_budget_mb": 3})
    async with world.sender():
        await world.all_in(State.SENT)
    assert parts_of(sink) == [[("k.bin", content), ("f.bin", b"fetched")]] * 3


async def test_content_that_is_gone_or_damaged_is_not_sent(world: World, sink: Sink) -> None:
    gone = {"filename": "g.bin", "storage_path": f"sha256:{'0' * 64}", "size": 9, "fetch_mode": "base64"}
    damaged = await kept(world, b"x" * 100_000)
    sha256 = hashlib.sha256(b"what it was").hexdigest()
    await world.store.contents.keep(world.tenant, sha256, [b"what it is not"])
    damaged["storage_path"] = f"sha256:{sha256}"
    (first,) = await post(world, gone)
    (second,) = await post(world, damaged)
    async with world.sender():
        await world.all_in(State.ERROR)
    assert [(await world.view(id_)).error for id_ in (first, second)] == [
        "Attachment fetch failed for g.bin: its stored content is gone",
        "Attachment fetch failed for k.bin: its stored content is incomplete",
    ]
    assert sink.messages() == []


async def claim_one(world: World) -> Claim:
    queue, fleet = world.store.queue, world.store.fleet
    epoch = await fleet.register("test/one", "node", "sender")
    await queue.take_lease(world.account, 0, epoch=epoch, ttl=30.0)
    return await queue.claim(world.account, 0, epoch=epoch, limit=1)


@SQLITE
async def test_what_the_server_does_not_take_is_not_sent_to_it(
    world: World, files: Files, sink: Sink
) -> None:
    """B51: the size of a message is known before the server hears of it, although its base64 is not made yet."""
    sink.manners = dataclasses.replace(sink.manners, size="100000")
    files.serve("/mail-proxy/attachments", Manners(body=b"x" * 80_000))
    (id_,) = await post(world, {"filename": "a.bin", "storage_path": "doc"})
    async with world.sender():
        await world.all_in(State.ERROR)
    assert ((await world.view(id_)).error or "").startswith("too_large_for_server")
    assert not [command for command in sink.commands if command.startswith("MAIL")]


@SQLITE
async def test_without_room_on_disk_a_message_waits(world: World, files: Files, settings: Settings) -> None:
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    spool = settings.state_dir / "spool"
    spool.write_text("in the way")
    files.serve("/mail-proxy/attachments", Manners(body=b"x" * 1_500_000))
    (id_,) = await post(world, {"filename": "a.bin", "storage_path": "doc"})
    await world.change_account(retry_delays=(0.2,), max_retries=1000)
    async with world.sender():
        async with asyncio.timeout(20):
            while not await world.events(id_):
                await asyncio.sleep(0.02)
        spool.unlink()
        await world.all_in(State.SENT)
    first = (await world.events(id_))[0]
    assert (first.detail.error or "").startswith("Attachment fetch failed for a.bin: cannot be kept")


@SQLITE
async def test_fetched_attachments_count_for_what_certified_mail_may_weigh(
    world: World, sink: Sink, settings: Settings
) -> None:
    await world.change_account(is_pec_account=True)
    Path(settings.attachment_base_dir[0], "a.bin").write_bytes(bytes(12 << 20))
    part = {"filename": "a.bin", "storage_path": "a.bin", "fetch_mode": "filesystem"}
    large = await world.post("b@pec.example", "c@pec.example", content={"attachments": [part]})
    small = await world.post("b@pec.example", content={"attachments": [part]})
    async with world.sender():
        await world.all_in(State.SENT, State.ERROR)
    error = (await world.view(large[0])).error
    assert error is not None
    assert error.startswith("message_too_large: ")
    assert "2 recipients" in error
    assert [one.id for one in sink.messages()] == small
