"""Files behind links, on both databases."""

import json
import time
from dataclasses import replace
from typing import Any

from mailproxy.attachments import large
from mailproxy.attachments.large_file import LargeFile
from mailproxy.attachments.links import new_object
from mailproxy.attachments.places import Place
from mailproxy.config import Settings
from mailproxy.model import MessageId, TenantPk
from mailproxy.records import TenantWrite
from mailproxy.vault import Vault
from sql import migrate
from sql.store import SqlStore
from tests.sql.conftest import World, run_sql

FAR = 4e9


def _file(world: World, part: int = 0, **fields: Any) -> LargeFile:
    file = LargeFile(
        object=new_object(),
        tenant_pk=world.tenant,
        tenant_id="acme",
        message_id=MessageId(1),
        revision=0,
        part=part,
        filename="Größe.pdf",
        media_type="application/pdf",
        size=3_000_000,
        sha256=bytes(32),
        place=Place("s3://files/x", {"endpoint_url": "https://s3.example.com"}, True),
        lifespan=None,
        expires_at=FAR,
    )
    return replace(file, **fields)


async def test_a_file_is_begun_then_finished_then_found(world: World) -> None:
    files, file = world.store.large_files, _file(world)
    await files.begin(file)
    assert await files.of_message(MessageId(1), 0) == [file]
    assert await files.find(world.tenant, file.object) is None
    assert await files.finish(file.object, "https://x/y", FAR)
    found = await files.find(world.tenant, file.object)
    assert found == replace(file, url="https://x/y")
    assert await files.of_message(MessageId(1), 0) == [found]
    assert not await files.finish(file.object, "https://x/z", FAR)


async def test_a_file_is_found_for_its_tenant_and_revision_only(world: World) -> None:
    files, file = world.store.large_files, _file(world)
    await files.begin(file)
    await files.finish(file.object, "https://x/y", FAR)
    assert await files.find(TenantPk(world.tenant + 1), file.object) is None
    assert await files.of_message(MessageId(1), 1) == []
    assert await files.of_message(MessageId(2), 0) == []


async def test_the_newest_file_of_an_attachment_counts(world: World) -> None:
    files = world.store.large_files
    older, other = _file(world), _file(world, 1)
    await files.begin(older)
    await files.begin(other)
    newer = _file(world)
    await files.begin(newer)
    assert [one.object for one in await files.of_message(MessageId(1), 0)] == [newer.object, other.object]


async def test_what_has_ended_is_there_to_be_removed_only(world: World) -> None:
    files, file = world.store.large_files, _file(world, expires_at=time.time() - 60.0)
    await files.begin(file)
    assert not await files.finish(file.object, "https://x/y", FAR)
    assert await files.of_message(MessageId(1), 0) == []
    assert [one.object for one in await files.expired(limit=10)] == [file.object]
    await files.put_off(file.object, 3600.0)
    assert await files.expired(limit=10) == []
    await files.put_off(file.object, -1.0)
    assert [one.tries for one in await files.expired(limit=10)] == [2]
    assert await files.forget([file.object]) == 1
    assert await files.expired(limit=10) == []


async def test_a_download_brings_the_end_nearer_once(world: World) -> None:
    files, file = world.store.large_files, _file(world, lifespan=1000.0)
    await files.begin(file)
    await files.finish(file.object, "https://x/y", FAR)
    assert await files.downloaded(file.object)
    found = await files.find(world.tenant, file.object)
    assert found is not None
    assert found.downloaded_at is not None
    assert abs(found.expires_at - found.downloaded_at - 1000.0) < 0.01
    assert not await files.downloaded(file.object)
    assert await files.find(world.tenant, file.object) == found


async def test_a_download_changes_no_end_without_a_lifespan_and_never_moves_it_away(world: World) -> None:
    files = world.store.large_files
    for file in (_file(world), _file(world, 1, lifespan=1e10)):
        await files.begin(file)
        await files.finish(file.object, "https://x/y", FAR)
        await files.downloaded(file.object)
        found = await files.find(world.tenant, file.object)
        assert found is not None
        assert found.expires_at == FAR


async def test_the_files_of_a_deleted_tenant_end_at_once(world: World) -> None:
    files, file = world.store.large_files, _file(world)
    await files.begin(file)
    await files.finish(file.object, "https://x/y", FAR)
    tenants = await world.store.directory.tenants(active_only=False, after=None, limit=10)
    await world.store.directory.delete_tenant(next(one.id for one in tenants if one.pk == world.tenant))
    assert await files.find(world.tenant, file.object) is None
    assert [one.object for one in await files.expired(limit=10)] == [file.object]


async def test_the_link_key_is_made_once_and_sealed_anew_with_the_others(store: SqlStore) -> None:
    key = await store.large_files.link_key()
    assert len(key) == 32
    assert await store.large_files.link_key() == key
    vault = Vault([b"n" * 32, b"k" * 32])
    upkeep, files = replace(store.upkeep, vault=vault), replace(store.large_files, vault=Vault([b"n" * 32]))
    await store.directory.put_tenant(TenantWrite(id="t", large_file_secrets={"key": "a"}), None, None)
    await upkeep.reseal()
    assert await files.link_key() == key
    tenant = await replace(store.directory, vault=Vault([b"n" * 32])).tenant("t")
    assert tenant is not None
    assert tenant.large_file_secrets == {"key": "a"}


async def test_a_tenants_storage_secrets_stay_until_others_are_written(store: SqlStore) -> None:
    directory = store.directory
    for secrets, stored in (({"key": "a"}, {"key": "a"}), (None, {"key": "a"}), ({}, {})):
        await directory.put_tenant(TenantWrite(id="t", large_file_secrets=secrets), None, None)
        tenant = await directory.tenant("t")
        assert tenant is not None
        assert tenant.large_file_secrets == stored


async def test_what_was_never_checked_is_not_taken_for_the_admins(
    store: SqlStore, settings: Settings, dialect: str
) -> None:
    """As the migration finds rows: those that passed the check have secrets, be they none."""
    config = json.dumps({"enabled": True, "storage_url": "file:///srv", "set_by_tenant": False, "é": '"}'})
    plain = json.dumps({"enabled": True, "storage_url": "file:///srv"})
    for id_, text, secrets in (
        ("unchecked", config, None),
        ("older", plain, None),
        ("empty", "{}", None),
        ("checked", config, {}),
    ):
        write = TenantWrite(id_, large_file_config=text, large_file_secrets=secrets)
        await store.directory.put_tenant(write, None, None)
    [migration] = [one for one in migrate.known(dialect) if one.name.endswith("_unchecked_storages")]
    run_sql(settings.database, migration.text)
    stored = {one.id: one for one in await store.directory.tenants(active_only=False, after=None, limit=10)}
    found = {id_: large.of_stored(one.large_file_config) for id_, one in stored.items()}
    assert found["unchecked"].enabled
    assert {id_: one.place for id_, one in found.items()} == {
        "unchecked": None,
        "older": None,
        "empty": None,
        "checked": Place("file:///srv"),
    }
    assert (stored["older"].large_file_config, stored["empty"].large_file_config) == (plain, "{}")
