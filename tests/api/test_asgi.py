"""An API process that starts before its database does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import psycopg
import pytest
from starlette.types import ASGIApp, Message

from mailproxy import config
from mailproxy.api import asgi
from mailproxy.attendance import attend
from mailproxy.config import Settings
from mailproxy.figures import ProcessView
from mailproxy.store import Store
from sql import migrate
from tests.api.conftest import ADMIN, listening

PATIENCE = 10.0


@asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[list[str]]:
    """What a server does around serving; yields what the application said."""
    heard: asyncio.Queue[Message] = asyncio.Queue()
    said: list[str] = []
    changed = asyncio.Event()

    async def send(message: Message) -> None:
        said.append(message["type"])
        changed.set()

    living = asyncio.ensure_future(app({"type": "lifespan"}, heard.get, send))
    await heard.put({"type": "lifespan.startup"})
    async with asyncio.timeout(PATIENCE):
        await changed.wait()
    try:
        yield said
    finally:
        await heard.put({"type": "lifespan.shutdown"})
        await living


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_an_api_waits_for_its_database_and_says_so(
    environ: dict[str, str], postgres_server: str, tmp_path: object
) -> None:
    settings = config.load(environ)
    url = environ["GMP_DATABASE_URL"]
    with psycopg.connect(postgres_server, autocommit=True) as maintenance:
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        maintenance.execute(f'ALTER DATABASE "{name}" RENAME TO "{name}_later"')
        process = asgi.Process(settings, "here")
        async with lifespan(process) as said, listening(process) as (port, _):
            assert said == ["lifespan.startup.complete"]
            headers = {"X-API-Token": ADMIN}
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False
            ) as client:
                early = await client.get("/status")
                assert (early.status_code, early.json()["code"]) == (503, "storage_unavailable")
                assert int(early.headers["retry-after"]) >= 1
                assert (await client.get("/readyz")).status_code == 503
                assert (await client.get("/livez")).status_code == 200
                maintenance.execute(f'ALTER DATABASE "{name}_later" RENAME TO "{name}"')
                await asyncio.to_thread(migrate.migrate, settings.database)
                async with asyncio.timeout(PATIENCE):
                    while (await client.get("/readyz")).status_code != 200:
                        await asyncio.sleep(0.05)
                assert (await client.get("/status")).status_code == 200


async def test_a_schema_that_is_missing_keeps_the_api_from_starting(empty_environ: dict[str, str]) -> None:
    async with lifespan(asgi.Process(config.load(empty_environ), "here")) as said:
        assert said == ["lifespan.startup.failed"]


async def test_an_api_process_is_known_to_the_fleet_while_it_lives(settings: Settings, store: Store) -> None:
    async with lifespan(asgi.Process(settings, "here")):
        found = await _processes(store, 1)
        assert [(process.role, process.node) for process in found] == [("api", "here")]
    assert await store.fleet.processes() == []


async def test_a_process_declared_dead_by_mistake_enters_anew(store: Store) -> None:
    present = asyncio.create_task(attend(store.fleet, "o1", "here", "scout", every=0.01))
    (first,) = await _processes(store, 1)
    while not await store.fleet.forget_dead(-1.0):
        await asyncio.sleep(0.01)
    (second,) = await _processes(store, 1)
    assert second.epoch > first.epoch
    present.cancel()
    await asyncio.gather(present, return_exceptions=True)
    assert await store.fleet.processes() == []


async def _processes(store: Store, count: int) -> list[ProcessView]:
    async with asyncio.timeout(PATIENCE):
        while len(found := await store.fleet.processes()) != count:
            await asyncio.sleep(0.01)
    return found
