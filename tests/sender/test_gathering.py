"""What bringing a message's content together gives back, however it ends."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mailproxy.config import Settings
from mailproxy.model import Account, Epoch
from mailproxy.outcome import Deferred, Withheld
from mailproxy.records import Claimed, TenantWrite
from sql.store import SqlStore
from tests.sender.world import World, make_world
from tests.support.silent import silent_server
from workers.sender.attachments import Attachments, Gathering
from workers.sender.origin import Origins, origin_of
from workers.sender.prepare import Preparation, Prepared, PutOff, Result, Work, prepare

SQLITE = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
PART = {
    "filename": "a.bin",
    "fetch_mode": "base64",
    "storage_path": base64.b64encode(bytes(2 * 1024 * 1024)).decode(),
}
S3 = {"enabled": True, "action": "rewrite", "max_size_mb": 1, "storage_url": "s3://files", "links": "own"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    changes = {"attachment_budget_mb": 1, "attachment_timeout": 30.0, "public_base_url": "https://x.example"}
    return settings.model_copy(update=changes)


@pytest.fixture
async def world(store: SqlStore, settings: Settings) -> World:
    return await make_world(store, settings, 9)


@pytest.fixture
async def epoch(world: World) -> Epoch:
    found = await world.store.fleet.register("test/one", "node", "sender")
    await world.store.queue.take_lease(world.account, 0, epoch=found, ttl=60.0)
    return found


@pytest.fixture
async def attachments(world: World, epoch: Epoch) -> AsyncIterator[Attachments]:
    made = Attachments(world.store, epoch, 0, world.settings)
    yield made
    await made.aclose()


async def rewriting(world: World, url: str) -> None:
    """Large attachments go to the S3 at `url`."""
    config = S3 | {"set_by_tenant": False, "storage_options": {"endpoint_url": url, "region": "us-east-1"}}
    write = TenantWrite(
        "acme", large_file_config=json.dumps(config), large_file_secrets={"key": "k", "secret": "s"}
    )
    await world.store.directory.put_tenant(write, None, None)


async def claimed(world: World, epoch: Epoch) -> tuple[Account, tuple[Claimed, ...]]:
    account = await world.store.directory.sending_account(world.account)
    assert account is not None
    claim = await world.store.queue.claim(world.account, 0, epoch=epoch, limit=100)
    return account, claim.messages


@SQLITE
async def test_an_upload_that_is_cut_off_gives_back_what_its_message_held(
    world: World, epoch: Epoch, attachments: Attachments
) -> None:
    await world.post(n=2, content={"attachments": [PART]})
    account, (first, second) = await claimed(world, epoch)
    async with silent_server() as silent:
        await rewriting(world, silent.url)
        uploading = asyncio.create_task(attachments.of(account, first))
        await silent.until_asked()
        uploading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await uploading
    found = await attachments.of(account, second)
    assert isinstance(found, Deferred), "its storage is down, but there is room for it"


@SQLITE
async def test_behind_uploads_that_hang_a_message_goes_back_untried(world: World, epoch: Epoch) -> None:
    """F43: two of a tenant's uploads hang; the third message holds nothing and burns no attempt."""
    await world.post(n=3, content={"attachments": [PART]})
    account, messages = await claimed(world, epoch)
    attachments = Attachments(
        world.store, epoch, 0, world.settings.model_copy(update={"attachment_budget_mb": 64})
    )
    async with silent_server() as silent:
        await rewriting(world, silent.url)
        uploading = [asyncio.create_task(attachments.of(account, message)) for message in messages[:2]]
        await silent.until_asked(2)
        assert isinstance(await attachments.of(account, messages[2]), PutOff)
        for task in uploading:
            task.cancel()
        await asyncio.gather(*uploading, return_exceptions=True)
        await attachments.aclose()


@SQLITE
async def test_a_suspect_whose_content_does_not_come_lets_the_others_go_on(
    world: World, epoch: Epoch
) -> None:
    await world.post(n=2)
    _, (first, second) = await claimed(world, epoch)
    given_up = asyncio.Event()

    async def hang() -> Result:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()
        return Withheld("it came")

    origin = await origin_of(world.store, world.settings, 0)
    origins = Origins(world.store.administration, world.settings, origin)
    preparation = Preparation(world.store.queue, epoch, origins, prepare, 0.1)
    suspect = Work(replace(first, suspect=True), gather=hang)
    found, other = await asyncio.gather(preparation.of(suspect), preparation.of(Work(second)))
    assert isinstance(found, Deferred)
    assert isinstance(other, Prepared)
    assert given_up.is_set()


async def test_a_stop_tells_of_messages_whose_task_has_not_begun() -> None:
    arrived: list[tuple[object, Result]] = []

    async def gather(message: Claimed) -> Result:
        return Work(message)

    gathering = Gathering(gather, lambda message, result: arrived.append((message, result)))
    message = object()
    gathering.begin(message)  # type: ignore[arg-type]
    await gathering.stop()
    assert arrived == [(message, Withheld("not begun"))]
    assert len(gathering) == 0
