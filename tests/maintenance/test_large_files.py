"""Large files are removed when their links have ended."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mailproxy.attachments.large_file import LargeFile
from mailproxy.attachments.links import new_object
from mailproxy.attachments.places import Place
from mailproxy.attachments.storage import Failed, Object, Storage
from mailproxy.config import Settings
from mailproxy.model import MessageId, TenantPk
from mailproxy.reach import Reach
from mailproxy.records import TenantWrite
from mailproxy.store import Store
from mailproxy.vault import Vault
from sql.store import SqlStore
from tests.support.s3 import s3_server
from tests.support.silent import silent_server
from workers.housekeeping import FILES_AT_ONCE, remove_large_files

KEYS = {"key": "k", "secret": "s"}


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"large_file_base_dir": (tmp_path,)})


async def ended(store: Store, folder: Path, n: int = 1, **fields: object) -> list[LargeFile]:
    """Files whose links have ended."""
    folder.mkdir(exist_ok=True)
    found = []
    for part in range(n):
        file = LargeFile(
            new_object(),
            TenantPk(1),
            "acme",
            MessageId(1),
            0,
            part,
            "f",
            "a/b",
            3,
            bytes(32),
            Place(f"file://{folder}"),
        )
        file = replace(file, expires_at=time.time() - 60.0, **fields)  # type: ignore[arg-type]
        await store.large_files.begin(file)
        (folder / file.object).write_bytes(b"abc")
        found.append(file)
    return found


async def test_what_has_ended_is_removed_in_chunks_and_the_rest_stays(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    folder, many = tmp_path / "files", FILES_AT_ONCE + 3
    await ended(store, folder, many)
    [living] = await ended(store, folder)
    await store.large_files.forget([living.object])
    await store.large_files.begin(replace(living, expires_at=4e9))
    assert await remove_large_files(store, settings) == many
    assert [one.name for one in folder.iterdir()] == [living.object]
    assert await remove_large_files(store, settings) == 0


async def test_what_was_never_stored_is_forgotten(store: Store, settings: Settings, tmp_path: Path) -> None:
    [file] = await ended(store, tmp_path / "files")
    (tmp_path / "files" / file.object).unlink()
    assert await remove_large_files(store, settings) == 1
    assert await store.large_files.expired(limit=9) == []


async def test_a_removal_that_fails_is_tried_again_later_and_ends_once_it_works(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    [file] = await ended(store, tmp_path / "files")
    forbidding = settings.model_copy(update={"large_file_base_dir": ()})
    await remove_large_files(store, forbidding)
    assert (tmp_path / "files" / file.object).exists()
    assert await remove_large_files(store, settings) == 0
    await store.large_files.put_off(file.object, -1.0)
    assert await remove_large_files(store, settings) == 1
    assert not (tmp_path / "files" / file.object).exists()


async def test_a_tenant_whose_secrets_cannot_be_opened_holds_up_nobody(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    sealed_elsewhere = replace(store.directory, vault=Vault([b"n" * 32]))
    await sealed_elsewhere.put_tenant(TenantWrite(id="locked", large_file_secrets={"key": "k"}), None, None)
    [locked] = await ended(store, tmp_path / "files", tenant_id="locked")
    await ended(store, tmp_path / "files")
    assert await remove_large_files(store, settings) == 2
    assert [one.name for one in (tmp_path / "files").iterdir()] == [locked.object]
    assert await store.large_files.expired(limit=9) == []
    await store.large_files.put_off(locked.object, -1.0)
    assert [one.tries for one in await store.large_files.expired(limit=9)] == [1], "none but this one counts"


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_storage_that_hangs_is_left_alone_and_only_what_it_was_asked_counts(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    async with silent_server() as silent:
        place = Place("s3://files", {"endpoint_url": silent.url, "region": "us-east-1"})
        config = {"storage_url": place.url, "storage_options": dict(place.options), "set_by_tenant": False}
        write = TenantWrite("acme", large_file_config=json.dumps(config), large_file_secrets=KEYS)
        await store.directory.put_tenant(write, None, None)
        tenant = await store.directory.tenant("acme")
        assert tenant is not None
        hanging = await ended(store, tmp_path / "files", 5, place=place, tenant_pk=tenant.pk)
        await ended(store, tmp_path / "files")
        await remove_large_files(store, settings.model_copy(update={"attachment_timeout": 0.5}))
    for file in hanging:
        await store.large_files.put_off(file.object, -1.0, tried=False)
    assert sorted(one.tries for one in await store.large_files.expired(limit=9)) == [0, 0, 0, 1, 1]


async def test_the_objects_of_a_bucket_are_removed_with_their_tenants_credentials(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    with s3_server("files") as url:
        options = {"endpoint_url": url, "region": "us-east-1"}
        config = {"storage_url": "s3://files", "storage_options": options, "set_by_tenant": False}
        write = TenantWrite(id="acme", large_file_config=json.dumps(config), large_file_secrets=KEYS)
        await store.directory.put_tenant(write, None, None)
        tenant = await store.directory.tenant("acme")
        assert tenant is not None
        place = Place("s3://files", options)
        [file] = await ended(store, tmp_path / "files", place=place, tenant_pk=tenant.pk)
        storage = Storage((), 30.0, Reach())
        target = Object(place, file.object, KEYS)
        assert await storage.put(target, lambda: [b"abc"], 3, filename="f", media_type="a/b") is None
        assert await remove_large_files(store, settings) == 1
        gone = await storage.read(target, 0, 3)
        storage.close()
    assert isinstance(gone, Failed)
    assert gone.gone
    await store.large_files.put_off(file.object, -1.0)
    assert await store.large_files.expired(limit=9) == []
