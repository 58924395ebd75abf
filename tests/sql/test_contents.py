"""Long content that came with messages, on both databases: kept once, for as long as a message has it."""

import hashlib

import pytest

from mailproxy.errors import StorageUnavailable
from mailproxy.model import Priority, TenantPk
from mailproxy.records import Enqueued, NewMessage, TenantWrite
from sql.contents import SqlContents
from sql.store import SqlStore
from tests.sql.conftest import World

PIECES = (b"one " * 1000, b"two")
SHA256 = hashlib.sha256(b"".join(PIECES)).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


def lasting(store: SqlStore, kept: float = -1.0, again: float = 0.0) -> SqlContents:
    """As the store's, but at once old enough to be looked at."""
    return SqlContents(store.engine, kept=kept, sure=kept, again=again)


async def octets(store: SqlStore, tenant: TenantPk, sha256: str = SHA256) -> bytes | None:
    found: list[bytes] = []
    while (piece := await store.contents.piece(tenant, sha256, len(found))) is not None:
        found.append(piece)
    return b"".join(found) if found else None


async def queued(world: World, id_: str, *contents: str) -> Enqueued:
    message = NewMessage(id_, world.account, Priority.MEDIUM, "{}", contents=contents)
    (found,) = await world.store.queue.enqueue({world.tenant: [message]})
    return found


async def test_content_is_kept_in_pieces_and_for_its_tenant(world: World) -> None:
    contents = world.store.contents
    await contents.keep(world.tenant, SHA256, PIECES)
    assert [await contents.piece(world.tenant, SHA256, n) for n in range(3)] == [*PIECES, None]
    await world.store.directory.put_tenant(TenantWrite(id="other"), None, None)
    other = await world.store.directory.tenant("other")
    assert other is not None
    assert await octets(world.store, other.pk) is None


async def test_content_that_is_known_is_not_taken_again(world: World) -> None:
    contents = world.store.contents
    await contents.keep(world.tenant, SHA256, PIECES)
    await contents.keep(world.tenant, SHA256, ())
    assert await octets(world.store, world.tenant) == b"".join(PIECES)


async def test_content_that_was_cut_off_is_none_and_is_completed(world: World) -> None:
    def cut() -> object:
        yield PIECES[0]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await world.store.contents.keep(world.tenant, SHA256, cut())  # type: ignore[arg-type]
    assert await octets(world.store, world.tenant) is None
    with pytest.raises(StorageUnavailable):
        await queued(world, "m1", SHA256)
    await world.store.contents.keep(world.tenant, SHA256, PIECES)
    assert await octets(world.store, world.tenant) == b"".join(PIECES)


async def test_a_message_without_its_content_is_not_queued(world: World) -> None:
    with pytest.raises(StorageUnavailable):
        await queued(world, "m1", SHA256)
    assert await world.store.directory.message(world.tenant, "m1") is None


async def test_what_a_message_has_stays_until_the_message_goes(world: World) -> None:
    contents = lasting(world.store)
    await contents.keep(world.tenant, SHA256, PIECES)
    await contents.keep(world.tenant, OTHER, [b"other"])
    await queued(world, "m1", SHA256)
    await queued(world, "m2", SHA256)
    assert await contents.forget(limit=100) == 1
    assert await octets(world.store, world.tenant, OTHER) is None
    await world.store.directory.delete_messages(world.tenant, ["m1"])
    assert await contents.forget(limit=100) == 0
    assert await octets(world.store, world.tenant) == b"".join(PIECES)
    await world.store.directory.delete_messages(world.tenant, ["m2"])
    assert await contents.forget(limit=100) == 1
    assert await octets(world.store, world.tenant) is None


async def test_what_was_kept_a_moment_ago_is_not_looked_at(world: World) -> None:
    await world.store.contents.keep(world.tenant, SHA256, PIECES)
    assert await lasting(world.store).forget(limit=100) == 0
    assert await octets(world.store, world.tenant) is not None


async def test_what_a_message_has_is_looked_at_again_later(world: World) -> None:
    await lasting(world.store).keep(world.tenant, SHA256, PIECES)
    await queued(world, "m1", SHA256)
    assert await lasting(world.store, again=3600.0).forget(limit=100) == 0
    await world.store.directory.delete_messages(world.tenant, ["m1"])
    assert await lasting(world.store).forget(limit=100) == 0


async def test_making_sure_of_old_content_keeps_it(world: World) -> None:
    await lasting(world.store).keep(world.tenant, SHA256, PIECES)
    await world.store.contents.keep(world.tenant, SHA256, PIECES)
    assert await lasting(world.store).forget(limit=100) == 0
    assert await octets(world.store, world.tenant) is not None


async def test_a_replaced_message_has_its_new_content_only(world: World) -> None:
    contents = lasting(world.store)
    await contents.keep(world.tenant, SHA256, PIECES)
    await contents.keep(world.tenant, OTHER, [b"other"])
    await queued(world, "m1", SHA256)
    assert (await queued(world, "m1", OTHER)).replaced
    assert await contents.forget(limit=100) == 1
    assert await octets(world.store, world.tenant) is None
    assert await octets(world.store, world.tenant, OTHER) == b"other"


async def test_a_tenant_s_content_goes_with_it(world: World) -> None:
    await world.store.contents.keep(world.tenant, SHA256, PIECES)
    await queued(world, "m1", SHA256)
    assert await world.store.directory.delete_tenant("acme")
    assert await octets(world.store, world.tenant) is None
