"""The command log: everything that changes something is in it, with who did it, and no secret is."""

import json
import time
from typing import Any

import pytest

from mailproxy import tokens
from mailproxy.api.app import ROUTES
from mailproxy.api.auth import Access
from mailproxy.audit import Command, Pending
from mailproxy.config import Settings
from mailproxy.errors import Conflict
from mailproxy.records import AccountWrite
from mailproxy.store import Store
from tests.api.conftest import Api, api_on, message
from tests.api.test_authorisation import BODIES, ask
from tests.api.test_submission import ADD, add, claim_all
from tests.sql.conftest import run_sql
from workers.housekeeping import forget_commands

CANARY = "canary-s3cret"


async def entries(api: Api, **params: Any) -> list[dict[str, Any]]:
    """The log, the oldest first."""
    answer = (await api.admin.get("/command-log", params={"limit": 500, **params})).json()
    assert answer["total"] == len(answer["commands"])
    return list(reversed(answer["commands"]))


async def test_every_route_that_changes_something_enters_a_command(api: Api) -> None:
    key = await api.tenant()
    tenant = await api.client(key)
    added = await api.admin.post(ADD, json=BODIES[ADD])
    assert added.json()["queued"] == 1
    for route in ROUTES:
        if route.method == "GET" or (route.method, route.path) == ("DELETE", "/tenant/{id}"):
            continue
        client = tenant if route.access is not Access.ADMIN else api.admin
        answer = await ask(client, route)
        label = f"{route.method} {route.template}"
        entry = (await entries(api, endpoint=label))[-1]
        assert entry["endpoint"] == label
        assert entry["response_status"] == answer.status_code, label
        assert entry["request_id"] == answer.headers["x-request-id"]
        assert entry["actor"] == (tokens.key_id_of(key) if client is tenant else "admin")
        assert abs(entry["command_ts"] - time.time()) < 3600
        if route.path.startswith("/commands/") or "{id}" in route.path or client is tenant:
            assert entry["tenant_id"] == "acme", label
        if "{id}" in route.path:
            assert entry["object"] == answer.request.url.path.split("/")[2]
        if route.path == "/tenant/{id}/api-key":
            key = (
                answer.json().get("api_key")
                or (await api.admin.post("/tenant/acme/api-key")).json()["api_key"]
            )
            tenant = await api.client(key)
    assert not await entries(api, endpoint="GET ")


async def test_no_secret_and_no_content_gets_into_the_log(api: Api, settings: Settings) -> None:
    secret = {"method": "basic", "user": "u", "password": CANARY, "token": CANARY}
    storage = {"storage_url": "s3://bucket", "storage_options": {"key": CANARY, "secret": CANARY}}
    key = (
        await api.admin.post(
            "/tenant", json={"id": "acme", "client_auth": secret, "large_file_config": storage}
        )
    ).json()["api_key"]
    tenant = await api.client(key)
    account = {"id": "main", "host": "127.0.0.1", "port": 25, "password": CANARY, "retry_delays": [1, 2]}
    await tenant.post("/account", json=account)
    await tenant.patch("/account/main", json={"password": CANARY, "port": 26})
    await api.admin.put("/instance", json={"api_token": CANARY, "bounce_imap_password": CANARY})
    await api.admin.put("/instance/bounce", json={"imap_password": CANARY})
    made = (await api.admin.post("/tenant/acme/api-key", json={"keep_previous": 60})).json()["api_key"]
    content = {"subject": CANARY, "body": CANARY, "headers": {"X-A": CANARY}}
    part = {"filename": "a.txt", "storage_path": "base64:Y2FuYXJ5", "auth": {"token": CANARY}}
    await add(tenant, message("m1", **content, attachments=[part]))
    for wrong in ({"id": "x", "password": CANARY}, {"id": CANARY * 99, "host": CANARY, "port": CANARY}):
        assert (await tenant.post("/account", json=wrong)).status_code == 422
    log = run_sql(settings.database, "SELECT * FROM command_log")
    listed = await api.admin.get("/command-log", params={"limit": 500})
    exported = await api.admin.get("/command-log/export")
    for text in (repr(log), listed.text, exported.text):
        for canary in (CANARY, key, made, "admin-token", "Y2FuYXJ5"):
            assert canary not in text
    told = {entry["endpoint"]: entry["payload"] for entry in await entries(api)}
    assert told["POST /tenant"] == {
        "id": "acme",
        "client_auth": {"method": "basic", "user": "u", "password": "***", "token": "***"},
        "large_file_config": {
            "storage_url": "s3://bucket",
            "storage_options": {"key": "***", "secret": "***"},
        },
    }
    assert told["PATCH /account/{id}"] == {"password": "***", "port": 26}
    assert told["PUT /instance"] == {"api_token": "***", "bounce_imap_password": "***"}


async def test_a_large_call_leaves_its_size_and_the_first_ids(api: Api) -> None:
    tenant = await api.as_tenant()
    ids = [f"m{n}" for n in range(100)]
    await add(tenant, *map(message, ids))
    await tenant.post("/commands/delete-messages", json={"ids": [*ids, "x" * 5000]})
    added, deleted = (await entries(api))[-2:]
    assert added["payload"] == {"messages": 100, "ids": ids[:20], "tenant_id": "acme"}
    assert deleted["payload"] == {"ids": [*ids[:20], "… 81 more"]}
    await api.tenant("other")
    spanning = [message("a", tenant_id="acme"), message("b", tenant_id="other")]
    await add(api.admin, *spanning)
    [both] = (await entries(api))[-1:]
    assert both["payload"] == {"messages": 2, "ids": ["a", "b"], "tenants": ["acme", "other"]}
    assert "tenant_id" not in both


async def test_the_entry_is_committed_with_what_was_done_or_not_at_all(
    store: Store, settings: Settings
) -> None:
    pending = Pending(Command("POST /account", "admin", "r1"))
    noting = store.noting(pending)
    async with api_on(settings, store) as api:
        await api.as_tenant()
        await api.admin.post(ADD, json={"messages": [message(tenant_id="acme")]})
        epoch, claimed = await claim_all(store)
        await store.queue.intend(epoch, [one.id for one in claimed])
        tenant = await store.directory.tenant("acme")
        assert tenant is not None
        before = len(await entries(api))
        with pytest.raises(Conflict):
            await noting.directory.delete_account(tenant.pk, "main")
        assert pending.entry is None
        assert len(await entries(api)) == before
        await noting.directory.put_account(tenant.pk, AccountWrite("second", "127.0.0.1", 25))
        assert pending.entry is not None
        await noting.directory.put_account(tenant.pk, AccountWrite("third", "127.0.0.1", 25))
        assert len(await entries(api)) == before + 1
        refused = await api.admin.delete("/account/main", params={"tenant_id": "acme"})
        assert refused.status_code == 409
        [entry] = (await entries(api))[-1:]
        assert (entry["object"], entry["response_status"]) == ("main", 409)


async def test_what_wrote_and_was_refused_after_all_says_so(api: Api) -> None:
    assert (await api.admin.delete("/tenant/none")).status_code == 404
    [entry] = await entries(api)
    assert (entry["endpoint"], entry["object"]) == ("DELETE /tenant/{id}", "none")
    assert (entry["tenant_id"], entry["response_status"]) == ("none", 404)


async def test_replays_and_refusals_are_told_from_what_was_done(api: Api) -> None:
    tenant = await api.as_tenant()
    headers = {"Idempotency-Key": "k1"}
    for _ in range(2):
        await tenant.post(ADD, json={"messages": [message("m1")]}, headers=headers)
    await tenant.post(ADD, json={"messages": [message("bad", to="")]})
    await tenant.post(ADD, content="{", headers={"Content-Type": "application/json"})
    told = [(one["response_status"], one["payload"]) for one in await entries(api, endpoint="add-messages")]
    assert told == [
        (200, {"idempotency_key": "k1", "messages": 1, "ids": ["m1"], "tenant_id": "acme"}),
        (200, {"idempotency_key": "k1", "replayed": True}),
        (400, {"messages": 1, "ids": ["bad"], "tenant_id": "acme"}),
        (400, {}),
    ]


async def test_who_has_no_right_enters_nothing(api: Api) -> None:
    tenant = await api.as_tenant()
    before = len(await entries(api))
    assert (await (await api.client("wrong")).post("/commands/run-now")).status_code == 401
    assert (await tenant.post("/tenant", json={"id": "x"})).status_code == 403
    assert len(await entries(api)) == before


async def test_the_log_is_filtered_and_paged_without_gaps_or_repeats(api: Api, settings: Settings) -> None:
    for tenant_id in ("acme", "other"):
        await api.tenant(tenant_id)
    for number in range(5):
        await api.admin.put("/tenant/acme", json={"name": f"Acme {number}"})
    seen, cursor = [], ""
    while True:
        page = (await api.admin.get("/command-log", params={"limit": 2, "cursor": cursor})).json()
        seen += [one["id"] for one in page["commands"]]
        await api.admin.put("/tenant/other", json={"name": "late"})
        if "next_cursor" not in page:
            break
        cursor = page["next_cursor"]
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == len(set(seen)) == 9
    acme = await entries(api, tenant_id="acme")
    assert {one["tenant_id"] for one in acme} == {"acme"}
    assert len(acme) == 7
    for part in ("put /tenant", "PUT /tenant/{id}"):
        for name in ("endpoint", "endpoint_filter"):
            assert len(await entries(api, tenant_id="acme", **{name: part})) == 5
    assert await entries(api, endpoint="%") == []
    set_back(settings, acme[0]["id"], 7200)
    an_hour_ago = time.time() - 3600
    for since, until in (("since", "until"), ("since_ts", "until_ts")):
        assert [one["id"] for one in await entries(api, **{until: an_hour_ago})] == [acme[0]["id"]]
        assert acme[0]["id"] not in [one["id"] for one in await entries(api, **{since: an_hour_ago})]


def set_back(settings: Settings, entry: int, ago: float) -> None:
    at = "to_timestamp(?)" if settings.database.kind == "postgres" else "?"
    run_sql(settings.database, f"UPDATE command_log SET at = {at} WHERE id = ?", time.time() - ago, entry)


async def test_the_export_is_a_json_object_a_line_the_oldest_first(api: Api, settings: Settings) -> None:
    await api.tenant("acme", account=None, name="Grüße")
    many = 2500
    run_sql(settings.database, copies(settings, many))
    exported = await api.admin.get("/command-log/export")
    assert exported.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in exported.text.splitlines()]
    assert len(lines) == many + 1
    assert [one["id"] for one in lines] == sorted(one["id"] for one in lines)
    assert lines[0]["payload"] == {"id": "acme", "name": "Grüße"}
    some = await api.admin.get("/command-log/export", params={"tenant_id": "nobody"})
    assert (some.status_code, some.text) == (200, "")
    one = await api.admin.get("/command-log/export", params={"endpoint": "/tenant"})
    assert len(one.text.splitlines()) == 1


def copies(settings: Settings, many: int) -> str:
    series = (
        f"generate_series(1, {many})"
        if settings.database.kind == "postgres"
        else f"(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {many}) SELECT i FROM n)"
    )
    return f"""INSERT INTO command_log (at, endpoint, actor, request_id, payload, status)
        SELECT c.at, 'POST /x', c.actor, c.request_id, c.payload, c.status FROM command_log c, {series} s"""


async def test_entries_are_kept_for_their_time(api: Api, settings: Settings) -> None:
    await api.tenant()
    old, new = await entries(api)
    set_back(settings, old["id"], settings.command_log_retention_seconds + 60)
    assert await forget_commands(api.store, settings) == 1
    assert [one["id"] for one in await entries(api)] == [new["id"]]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_server_opened_on_purpose_does_not_say_that_the_admin_did_it(
    settings: Settings, store: Store
) -> None:
    opened = settings.model_copy(update={"api_token": None, "allow_anonymous": True})
    async with api_on(opened, store) as api:
        await (await api.client()).post("/tenant", json={"id": "acme"})
        found = (await (await api.client()).get("/command-log")).json()["commands"]
        assert [one["actor"] for one in found] == ["anonymous"]
