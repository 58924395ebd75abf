"""What clients are told while the database is in trouble, and that they need only come back (RELIABILITY F10–F23)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import psycopg
import pytest

from mailproxy.config import Settings
from tests.api.conftest import Api, api_on, message
from tests.api.test_submission import add
from tests.sql.conftest import run_sql
from tests.sql.stores import a_role, locked_by_another, on_postgres, on_sqlite, proxied, through
from tests.support.faultproxy import FaultProxy

postgres_only = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
sqlite_only = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


def check_refused(answer: httpx.Response, *codes: str) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.json()["code"] in codes
    assert int(answer.headers["retry-after"]) >= 1


async def add_until_taken(tenant: httpx.AsyncClient, identity: str) -> None:
    async with asyncio.timeout(30):
        while (answer := await add(tenant, message(identity))).status_code != 200:
            check_refused(answer, answer.json()["code"])
            await asyncio.sleep(0.05)


async def listed(tenant: httpx.AsyncClient) -> list[str]:
    return [one["id"] for one in (await tenant.get("/messages")).json()["messages"]]


@asynccontextmanager
async def behind_a_proxy(settings: Settings) -> AsyncIterator[tuple[Api, FaultProxy]]:
    async with (
        proxied(settings) as proxy,
        on_postgres(through(proxy, settings)) as store,
        api_on(settings, store) as api,
    ):
        yield api, proxy


@postgres_only
async def test_a_database_that_is_down_is_503_and_the_node_is_alive_but_not_ready(settings: Settings) -> None:
    async with behind_a_proxy(settings) as (api, proxy):
        tenant = await api.as_tenant()
        proxy.go_down()
        check_refused(await add(tenant, message("m1")), "storage_unavailable")
        assert (await api.admin.get("/readyz")).status_code == 503
        assert (await api.admin.get("/livez")).status_code == 200
        proxy.come_back()
        await add_until_taken(tenant, "m1")
        assert await listed(tenant) == ["m1"]


@postgres_only
async def test_an_answer_lost_during_commit_is_503_and_the_same_call_again_converges(
    settings: Settings,
) -> None:
    async with behind_a_proxy(settings) as (api, proxy):
        tenant = await api.as_tenant()

        def cut_at_the_commit() -> None:
            # As text, or by its name once the connection has prepared it.
            proxy.to_server.when_seen, proxy.to_server.then = rb"COMMIT|\0_pg3_\d+\0", cut

        def cut() -> None:
            proxy.to_client.cut_after = 0

        proxy.to_server.when_seen, proxy.to_server.then = b"the one in question", cut_at_the_commit
        batch = message("m1", subject="the one in question")
        check_refused(await add(tenant, batch), "commit_unknown")
        proxy.come_back()
        assert run_sql(settings.database, "SELECT client_id FROM message") == [("m1",)]
        await add_until_taken(tenant, "m1")
        assert await listed(tenant) == ["m1"]


@postgres_only
async def test_a_database_without_connections_to_spare_is_503_until_it_has_some(settings: Settings) -> None:
    with a_role(settings, -1) as url:
        role = psycopg.conninfo.conninfo_to_dict(url)["user"]
        async with on_postgres(url, connections=2) as store, api_on(settings, store) as api:
            tenant = await api.as_tenant()
            run_sql(settings.database, f"ALTER ROLE {role} CONNECTION LIMIT 0")
            end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ?"
            run_sql(settings.database, end, role)
            check_refused(await add(tenant, message("m1")), "storage_unavailable")
            run_sql(settings.database, f"ALTER ROLE {role} CONNECTION LIMIT -1")
            await add_until_taken(tenant, "m1")
            assert await listed(tenant) == ["m1"]


@sqlite_only
async def test_a_database_locked_by_another_process_is_503_until_it_lets_go(settings: Settings) -> None:
    path = settings.database.path
    assert path is not None
    async with on_sqlite(path) as store, api_on(settings, store) as api:
        tenant = await api.as_tenant()
        await add_until_taken(tenant, "m1")
        with locked_by_another(path, 60.0):
            check_refused(await add(tenant, message("m2")), "storage_locked")
            check_refused(await tenant.post("/commands/suspend"), "storage_locked")
            assert await listed(tenant) == ["m1"]
        await add_until_taken(tenant, "m2")
        assert await listed(tenant) == ["m1", "m2"]
