"""An account's trouble, as its operator meets it: in the log, the metrics, the API, and how it ends."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from mailproxy import log
from mailproxy.config import Settings
from mailproxy.model import State
from sql.store import SqlStore
from tests.api.conftest import api_on
from tests.sender.world import World, make_world
from tests.support.smtp import Sink


class Lines(StringIO):
    """What was logged, line by line."""

    def of(self, *words: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.getvalue().splitlines()]
        return [line for line in lines if line["event"] in words]


@pytest.fixture
def logged() -> Iterator[Lines]:
    lines = Lines()
    log.set_up("DEBUG", "json", stream=lines)
    yield lines
    log.set_up("INFO", "console")


@pytest.fixture
async def admin(settings: Settings, store: SqlStore) -> AsyncIterator[httpx.AsyncClient]:
    async with api_on(settings, store) as api:
        yield api.admin


async def account(admin: httpx.AsyncClient) -> dict[str, Any]:
    (found,) = (await admin.get("/accounts", params={"tenant_id": "acme"})).json()["accounts"]
    return dict(found)


async def until_state(admin: httpx.AsyncClient, wanted: str) -> dict[str, Any]:
    async with asyncio.timeout(15):
        while (found := await account(admin))["state"] != wanted:
            await asyncio.sleep(0.02)
    return found


async def state_gauge(admin: httpx.AsyncClient) -> str:
    text = (await admin.get("/metrics")).text
    (line,) = [line for line in text.splitlines() if line.startswith("gmp_account_state{")]
    return line.rpartition(" ")[2]


async def test_a_refused_login_opens_the_breaker_at_once_says_so_once_and_tells_how_to_close_it(
    store: SqlStore, settings: Settings, tmp_path: Path, admin: httpx.AsyncClient, logged: Lines
) -> None:
    async with Sink(tmp_path / "sink.log", user="alice", password="right") as sink:
        world = await make_world(store, settings, sink.port, user="alice", password="wrong")
        await world.post(n=20)
        async with world.sender():
            broken = await until_state(admin, "breaker_open")
            assert broken["state_reason"] == "authentication"
            assert "535" in broken["state_cause"]
            assert "POST /account/main/reset" in broken["state_remedy"]
            assert await state_gauge(admin) == "2.0"
            assert len(logged.of("account_trouble")) == 1
            await _close(admin)
            async with asyncio.timeout(15):
                while len(logged.of("account_trouble")) < 2:
                    await asyncio.sleep(0.02)
            await until_state(admin, "breaker_open")
            sink.manners = replace(sink.manners, password="wrong")
            await _close(admin)
            await world.all_in(State.SENT)
            assert await state_gauge(admin) == "0.0"
    first, second = logged.of("account_trouble")
    assert (first["level"], first["condition"], first["trouble"]) == (
        "error",
        "breaker_open",
        "authentication",
    )
    assert (first["tenant"], first["account"]) == ("acme", "main")
    assert first["condition"] == second["condition"]
    assert {view.attempts for view in await _views(world)} == {1}


async def test_a_server_that_is_away_backs_the_account_off_and_is_reported_once_until_it_is_back(
    store: SqlStore, settings: Settings, tmp_path: Path, admin: httpx.AsyncClient, logged: Lines
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = await make_world(store, settings, port)
    await world.post(n=5)
    async with world.sender():
        resting = await until_state(admin, "backing_off")
        assert resting["state_reason"] == "connection_refused"
        assert "reset" in resting["state_remedy"]
        assert await state_gauge(admin) == "1.0"
        async with Sink(tmp_path / "sink.log", port=port):
            await _close(admin)
            await world.all_in(State.SENT)
            await until_state(admin, "ok")
    assert [line["condition"] for line in logged.of("account_trouble")] == ["backing_off"], (
        "once, not by message"
    )
    assert {view.attempts for view in await _views(world)} == {1}


async def _close(admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/account/main/reset", params={"tenant_id": "acme"})
    assert answer.json() == {"ok": True}


async def _views(world: World) -> list[Any]:
    return [await world.view(id_) for id_ in await world.states()]
