"""Large bodies: they wait for their turn on disk, and what they bring is stored once and beside the messages."""

import asyncio
import base64
import hashlib
import json
import os
from typing import Any

import pytest

from mailproxy.config import Settings
from mailproxy.store import Store
from tests.api.conftest import ADMIN, Api, api_on, message

ADD = "/commands/add-messages"
SQLITE = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """One body above a megabyte is worked on at a time."""
    return settings.model_copy(update={"max_body_mb": 4})


def attached(*contents: bytes) -> list[dict[str, str]]:
    return [
        {"filename": f"{n}.bin", "storage_path": "base64:" + base64.b64encode(content).decode()}
        for n, content in enumerate(contents)
    ]


async def stored(api: Api, id_: str) -> list[dict[str, Any]]:
    found = (await api.admin.get(f"/messages/{id_}", params={"tenant_id": "acme"})).json()
    return list(found["message"]["attachments"])


async def test_long_content_is_stored_once_and_named_by_its_hash(settings: Settings, store: Store) -> None:
    content, short = os.urandom(300_000), b"short"
    sha256 = hashlib.sha256(content).hexdigest()
    async with api_on(settings, store) as api:
        acme = await api.as_tenant()
        letters = [message(f"m{n}", attachments=attached(content, short, content)) for n in range(3)]
        answer = await acme.post(ADD, json={"messages": letters})
        assert answer.json()["queued"] == 3
        long, brief, again = await stored(api, "m2")
        assert (long["storage_path"], long["size"]) == (f"sha256:{sha256}", len(content))
        assert again["storage_path"] == long["storage_path"]
        assert brief["storage_path"] == base64.b64encode(short).decode()
        tenant = await store.directory.tenant("acme")
        assert tenant is not None
        assert await store.contents.piece(tenant.pk, sha256, 0) == content


async def test_only_base64_is_what_it_says_it_is(settings: Settings, store: Store) -> None:
    sha256 = hashlib.sha256(b"another tenant's").hexdigest()
    async with api_on(settings, store) as api:
        acme = await api.as_tenant()
        part = {"filename": "a.bin", "storage_path": f"sha256:{sha256}", "fetch_mode": "base64"}
        answer = await acme.post(ADD, json={"messages": [message(attachments=[part])]})
        assert answer.status_code == 400
        assert answer.json()["detail"]["rejected"][0]["code"] == "invalid_base64"


@SQLITE
async def test_large_bodies_at_once_all_get_their_turn(settings: Settings, store: Store) -> None:
    async with api_on(settings, store) as api:
        acme = await api.as_tenant()
        letters = [message(f"m{n}", attachments=attached(os.urandom(1_500_000))) for n in range(8)]
        answers = await asyncio.gather(*(acme.post(ADD, json={"messages": [one]}) for one in letters))
        assert [answer.status_code for answer in answers] == [200] * 8
        assert not any((settings.state_dir / "spool").iterdir())


@SQLITE
async def test_who_is_slow_to_send_a_large_body_holds_nobody_up(settings: Settings, store: Store) -> None:
    async with api_on(settings, store) as api:
        acme = await api.as_tenant()
        body = json.dumps(
            {"messages": [message("slow", attachments=attached(os.urandom(2_000_000)))]}
        ).encode()
        body = body.replace(b'"id": "slow"', b'"id": "slow", "tenant_id": "acme"')
        reader, writer = await api.connect()
        head = f"POST {ADD} HTTP/1.1\r\nHost: x\r\nX-API-Token: {ADMIN}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-1000])
        await writer.drain()
        letter = message("quick", attachments=attached(os.urandom(1_500_000)))
        assert (await acme.post(ADD, json={"messages": [letter]})).status_code == 200
        writer.write(body[-1000:])
        async with asyncio.timeout(10):
            assert (await reader.readline()).split()[1] == b"200"


@SQLITE
async def test_without_room_on_disk_a_large_body_is_refused_for_now(settings: Settings, store: Store) -> None:
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    spool = settings.state_dir / "spool"
    spool.write_text("in the way")
    async with api_on(settings, store) as api:
        acme = await api.as_tenant()
        letter = message(attachments=attached(os.urandom(1_500_000)))
        answer = await acme.post(ADD, json={"messages": [letter]})
        assert (answer.status_code, answer.json()["code"]) == (503, "storage_full")
        spool.unlink()
        assert (await acme.post(ADD, json={"messages": [letter]})).status_code == 200
