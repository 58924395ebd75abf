"""Calls under an Idempotency-Key happen once, whatever is lost on the way."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psycopg
import pytest

from mailproxy.config import Settings
from mailproxy.store import Store
from tests.api.conftest import Api, api_on, message
from tests.api.test_submission import ADD, claim_all
from tests.sql.conftest import run_sql
from tests.sql.stores import on_postgres, proxied, through, works_again
from workers.housekeeping import forget_answers


async def once(client: httpx.AsyncClient, key: str, *messages: dict[str, Any], **call: Any) -> httpx.Response:
    return await client.post(ADD, json={"messages": list(messages), **call}, headers={"Idempotency-Key": key})


async def test_the_same_call_gets_the_same_answer_and_queues_nothing_more(api: Api) -> None:
    tenant = await api.as_tenant()
    call = [message("m1"), message("bad", to=""), message("odd", colour="red")]
    first = await once(tenant, "k1", *call)
    assert (first.status_code, first.json()["queued"]) == (200, 2)
    assert "idempotent-replayed" not in first.headers
    _, claimed = await claim_all(api.store)
    assert len(claimed) == 2
    again = await once(tenant, "k1", *call)
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert {one["status"] for one in (await tenant.get("/messages")).json()["messages"]} == {
        "sending",
        "error",
    }, "a replay replaces no message"
    assert (await once(tenant, "k2", *call)).json()["code"] == "all_rejected"


async def test_another_body_under_the_same_key_is_refused(api: Api) -> None:
    tenant = await api.as_tenant()
    await once(tenant, "k1", message("m1"))
    refused = await once(tenant, "k1", message("m2"))
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    assert [one["id"] for one in (await tenant.get("/messages")).json()["messages"]] == ["m1"]


async def test_an_answer_that_all_was_rejected_is_kept_too(api: Api) -> None:
    tenant = await api.as_tenant()
    nothing = {"subject": "no id"}
    for key, call in (("k1", [message("bad", to="")]), ("k2", [nothing])):
        first = await once(tenant, key, *call)
        again = await once(tenant, key, *call)
        assert (first.status_code, again.status_code) == (400, 400)
        assert again.headers["idempotent-replayed"] == "true"
        assert again.json()["detail"] == first.json()["detail"]
        assert again.json()["code"] == "all_rejected"
        assert again.json()["request_id"] == again.headers["x-request-id"] != first.headers["x-request-id"]
    events = (await tenant.get("/messages/bad/events")).json()["events"]
    assert len(events) == 1


async def test_what_did_nothing_is_not_kept(api: Api) -> None:
    tenant = await api.as_tenant()
    headers = {"Idempotency-Key": "k1"}
    for body, status in (("{", 400), ("{}", 422), (json.dumps({"messages": [{}] * 1001}), 400)):
        answer = await tenant.post(ADD, content=body, headers={**headers, "Content-Type": "application/json"})
        assert answer.status_code == status
        assert "idempotent-replayed" not in answer.headers
    assert (await once(tenant, "k1", message("m1"))).json()["queued"] == 1


async def test_keys_belong_to_a_tenant_and_those_of_the_admin_to_the_admin(api: Api) -> None:
    tenant, other = await api.as_tenant(), await api.as_tenant("other")
    spanning = [message("m1", tenant_id="acme"), message("m1", tenant_id="other")]
    assert (await once(tenant, "k1", message("m1"))).json()["queued"] == 1
    assert (await once(other, "k1", message("m2"))).json()["queued"] == 1
    assert (await once(api.admin, "k1", *spanning)).json()["queued"] == 2
    assert (await once(api.admin, "k1", message("m3", tenant_id="acme"))).status_code == 422
    assert (await once(api.admin, "k1", *spanning)).headers["idempotent-replayed"] == "true"
    await api.admin.delete("/tenant/other")
    reborn = await api.as_tenant("other")
    assert (await once(reborn, "k1", message("m2"))).headers.get("idempotent-replayed") is None


async def test_a_commit_whose_answer_was_lost_is_answered_by_another_node(
    settings: Settings, store: Store
) -> None:
    async with api_on(settings, store) as one, api_on(settings, store) as another:
        key = await one.tenant()
        sender, retrying = await one.client(key), await another.client(key)
        _, writer = await one.connect()
        body = json.dumps({"messages": [message("m1")]}, separators=(",", ":")).encode()
        head = f"POST {ADD} HTTP/1.1\r\nHost: h\r\nX-API-Token: {key}\r\nIdempotency-Key: k1\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        while not (await sender.get("/messages")).json()["messages"]:
            await asyncio.sleep(0.01)
        writer.close()
        headers = {"Idempotency-Key": "k1", "Content-Type": "application/json"}
        again = await retrying.post(ADD, content=body, headers=headers)
        assert (again.status_code, again.json()["queued"]) == (200, 1)
        assert again.headers["idempotent-replayed"] == "true"


async def test_of_equal_calls_at_once_over_several_nodes_one_queues(settings: Settings, store: Store) -> None:
    async with api_on(settings, store) as one, api_on(settings, store) as another:
        key = await one.tenant()
        clients = [await node.client(key) for node in (one, another) for _ in range(4)]
        for number in range(5):
            call = [message(f"m{number}-{n}") for n in range(20)]
            answers = await asyncio.gather(*(once(client, f"k{number}", *call) for client in clients))
            assert {answer.status_code for answer in answers} <= {200, 409}
            done = [answer for answer in answers if answer.status_code == 200]
            fresh = [answer for answer in done if "idempotent-replayed" not in answer.headers]
            assert len(fresh) == 1
            assert all(answer.json() == fresh[0].json() for answer in done)
            refused = {answer.json()["code"] for answer in answers if answer.status_code == 409}
            assert refused <= {"idempotency_in_flight"}
        assert (await one.admin.get("/status")).json()["pending"] == 100


@asynccontextmanager
async def enqueues_blocked(settings: Settings) -> AsyncIterator[None]:
    """As long as this lasts no enqueue gets on."""
    if settings.database.path is not None:
        sqlite = sqlite3.connect(settings.database.path, isolation_level=None)
        sqlite.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            sqlite.close()
        return
    async with await psycopg.AsyncConnection.connect(settings.database.url) as postgres:
        await postgres.execute("LOCK TABLE message IN ACCESS EXCLUSIVE MODE")
        yield


async def test_while_a_call_is_under_way_its_twin_is_told_so(settings: Settings, store: Store) -> None:
    async with api_on(settings, store) as api:
        tenant = await api.as_tenant()
        async with enqueues_blocked(settings):
            twins = [asyncio.create_task(once(tenant, "k1", message("m1"))) for _ in range(2)]
            done, [pending] = await asyncio.wait(twins, return_when=asyncio.FIRST_COMPLETED)
            [refused] = [one.result() for one in done]
            assert (refused.status_code, refused.json()["code"]) == (409, "idempotency_in_flight")
        assert (await pending).json()["queued"] == 1
        assert (await once(tenant, "k1", message("m1"))).headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_a_commit_nobody_knows_of_is_found_again_under_its_key(settings: Settings) -> None:
    async with (
        proxied(settings) as proxy,
        on_postgres(through(proxy, settings)) as store,
        api_on(settings, store) as api,
    ):
        tenant = await api.as_tenant()

        def cut() -> None:
            proxy.to_client.cut_after = 0

        proxy.to_server.when_seen = b"INTO kept_answer"
        proxy.to_server.then = cut
        lost = await once(tenant, "k1", message("m1"))
        assert lost.status_code == 503
        assert lost.json()["code"] == "commit_unknown"
        proxy.come_back()
        await works_again(store.fleet.check)
        again = await once(tenant, "k1", message("m1"))
        assert (again.status_code, again.json()["queued"]) == (200, 1)
        assert again.headers["idempotent-replayed"] == "true"
        [entry] = (await api.admin.get("/command-log", params={"endpoint": "add-messages"})).json()[
            "commands"
        ][1:]
        assert entry["payload"]["ids"] == ["m1"]


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_while_a_call_is_under_way_on_another_node_its_twin_is_told_so(
    settings: Settings, store: Store
) -> None:
    async with api_on(settings, store) as one, api_on(settings, store) as another:
        key = await one.tenant()
        clients = [await node.client(key) for node in (one, another)]
        async with enqueues_blocked(settings):
            twins = [asyncio.create_task(once(client, "k1", message("m1"))) for client in clients]
            done, [pending] = await asyncio.wait(twins, return_when=asyncio.FIRST_COMPLETED)
            assert [twin.result().status_code for twin in done] == [409]
        assert (await pending).json()["queued"] == 1


async def test_a_key_is_kept_for_a_day_and_then_forgotten(api: Api, settings: Settings) -> None:
    tenant = await api.as_tenant()
    await once(tenant, "old", message("m1"))
    await once(tenant, "used", message("m2"))
    await once(tenant, "new", message("m3"))
    older = "created_at - interval '1 day'" if settings.database.kind == "postgres" else "created_at - 86400"
    run_sql(settings.database, f"UPDATE kept_answer SET created_at = {older} WHERE key <> 'new'")
    anew = await once(tenant, "used", message("m4"))
    assert (anew.status_code, anew.json()["queued"]) == (200, 1)
    assert "idempotent-replayed" not in anew.headers
    assert await forget_answers(api.store, settings) == 1
    keys = run_sql(settings.database, "SELECT key FROM kept_answer ORDER BY key")
    assert keys == [("new",), ("used",)]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_odd_keys_are_refused(api: Api) -> None:
    tenant = await api.as_tenant()
    longest = "k" * 255
    for headers, status in (
        ([("Idempotency-Key", "")], 400),
        ([("Idempotency-Key", "k" * 256)], 400),
        ([("Idempotency-Key", "two words")], 400),
        ([("Idempotency-Key", "schlüssel".encode())], 400),
        ([("Idempotency-Key", "a"), ("Idempotency-Key", "a")], 400),
        ([("Idempotency-Key", longest)], 200),
        ([("Idempotency-Key", '"quoted"')], 200),
    ):
        answer = await tenant.post(ADD, json={"messages": [message()]}, headers=headers)
        assert answer.status_code == status, headers
        assert status == 200 or answer.json()["code"] == "invalid_idempotency_key"
