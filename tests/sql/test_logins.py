"""Logins that messages give for their attachments lie sealed beside them."""

import json
from dataclasses import replace
from typing import Any

import pytest

from mailproxy import payload
from mailproxy.vault import Vault, VaultError
from tests.sql.conftest import Sql, World

LOGINS: tuple[dict[str, Any], ...] = (
    {"method": "bearer", "token": "se-cret"},
    {"method": "basic", "user": "ann", "password": "pass-wört"},
    {"method": "none"},
)


def with_logins(*logins: dict[str, Any]) -> str:
    parts = [
        {"filename": "a", "storage_path": "doc", "fetch_mode": "endpoint", "auth": one} for one in logins
    ]
    plain = {"filename": "b", "storage_path": "eA==", "fetch_mode": "base64"}
    return payload.encode({"id": "m", "from": "é@example.org", "attachments": [plain, *parts]})


def test_logins_come_apart_and_together_again() -> None:
    given = with_logins(*LOGINS)
    hidden, logins = payload.parted(given)
    assert logins is not None
    assert "se-cret" in logins
    assert "se-cret" not in hidden
    assert "pass-w" not in hidden
    assert [part.get("auth") for part in json.loads(hidden)["attachments"]] == [
        None,
        {"method": "bearer", "token": "***"},
        {"method": "basic", "user": "ann", "password": "***"},
        {"method": "none"},
    ]
    assert payload.joined(hidden, logins) == given


@pytest.mark.parametrize(
    "given", [with_logins(), with_logins({"method": "none"}), '{"subject":"\\"auth\\""}']
)
def test_without_secrets_a_payload_stays_what_it_is(given: str) -> None:
    assert payload.parted(given) == (given, None)


async def test_a_login_is_sealed_beside_its_message_and_opened_for_its_sender(world: World, sql: Sql) -> None:
    given = with_logins(*LOGINS)
    await world.post("m", payload=given)
    [(stored, sealed)] = sql("SELECT payload, logins FROM body")
    assert "se-cret" not in stored
    assert b"se-cret" not in bytes(sealed)
    [claimed] = await (await world.sender()).claim()
    assert "se-cret" not in claimed.payload
    assert await world.store.queue.payload(claimed.id) == given
    elsewhere = replace(world.store.queue, vault=Vault([b"n" * 32]))
    with pytest.raises(VaultError):
        await elsewhere.payload(claimed.id)


async def test_a_replaced_message_has_the_logins_of_its_new_text_alone(world: World, sql: Sql) -> None:
    await world.post("m", payload=with_logins(LOGINS[0]))
    other = with_logins(LOGINS[1])
    await world.post("m", payload=other)
    [(id_,)] = sql("SELECT message_id FROM body")
    assert await world.store.queue.payload(id_) == other
    await world.post("m", payload="{}")
    assert sql("SELECT payload, logins FROM body") == [("{}", None)]


async def test_logins_are_sealed_anew_with_the_other_secrets(world: World) -> None:
    given = with_logins(LOGINS[0])
    await world.post("m", payload=given)
    vault = Vault([b"n" * 32, b"k" * 32])
    assert await replace(world.store.upkeep, vault=vault).reseal() > 0
    [claimed] = await (await world.sender()).claim()
    assert await replace(world.store.queue, vault=Vault([b"n" * 32])).payload(claimed.id) == given
