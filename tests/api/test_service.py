"""Probes, status and metrics over HTTP."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from mailproxy import __version__
from mailproxy.config import Settings
from mailproxy.store import Store
from tests.api.conftest import Api, api_on, message
from tests.api.test_submission import add
from tests.sql.conftest import run_sql
from tests.sql.test_inbound import BOX


async def test_probes_answer_without_a_token(api: Api) -> None:
    nobody = await api.client()
    health = await nobody.get("/health")
    assert health.json() == {"ok": True, "status": "ok", "version": __version__}
    assert (await nobody.get("/livez")).status_code == 200
    ready = await nobody.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"ok": True, "status": "ready"})
    for role in ("scout", "reporter", "maintenance", "imap"):
        await api.store.fleet.register(f"o-{role}", "n1", role)
    verbose = (await nobody.get("/readyz?verbose")).json()
    required, useful = {"ok": True, "required": True}, {"ok": True, "required": False}
    assert verbose["checks"] == {
        "storage": required,
        "schema": required,
        "disk": required,
        "workers": useful,
        "journal": useful,
        "mailboxes": useful,
    }
    assert (await nobody.head("/health")).status_code == 200


async def test_what_is_wrong_is_named_and_only_what_mail_cannot_do_without_makes_a_node_unready(
    api: Api, settings: Settings, tmp_path: Path
) -> None:
    await api.store.fleet.register("o1", "n1", "reporter")
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    await failing_mailbox(api.store)
    async with api_on(settings.model_copy(update={"state_dir": in_the_way / "state"}), api.store) as other:
        answer = await other.admin.get("/readyz?verbose")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    wrong = {name: check["reason"] for name, check in answer.json()["checks"].items() if not check["ok"]}
    assert set(wrong) == {"workers", "journal", "mailboxes"}
    assert wrong["workers"].startswith("no scout and no maintenance lives on any node")
    assert wrong["journal"].startswith(f"{in_the_way} cannot be written")
    assert wrong["mailboxes"].startswith("1 cannot be read")


async def test_a_schema_that_lacks_a_migration_makes_a_node_unready(api: Api, settings: Settings) -> None:
    run_sql(settings.database, "DELETE FROM schema_migration WHERE version = 8")
    answer = await api.admin.get("/readyz?verbose")
    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
    check = answer.json()["checks"]["schema"]
    assert check["reason"] == "the database lacks 0008_suppressions: run `mail-proxy db migrate`"


async def failing_mailbox(store: Store) -> None:
    """A mailbox that somebody could not read."""
    epoch = await store.fleet.register("o-imap", "n1", "imap")
    leased = await store.inbound.lease(BOX, epoch=epoch, ttl=60.0)
    assert leased is not None
    await store.inbound.settle(leased, epoch, failure="refused", wait=60.0)


async def test_status_says_what_waits_and_who_works(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("m1"))
    await api.store.fleet.register("o1", "n1", "sender")
    await api.store.fleet.register("o2", "n1", "sender")
    status = (await tenant.get("/status")).json()
    assert status["ok"] is True
    assert status["active"] is True
    assert status["pending"] == 1
    assert status["oldest_pending_age"] >= 0
    assert status["processes"] == {"sender": 2}
    assert (status["version"], status["node"]) == (__version__, "here")


async def test_stats_count_everything(api: Api) -> None:
    tenant = await api.client(await api.tenant(client_base_url="http://127.0.0.1:9"))
    await add(tenant, message("m1"), message("m2", to=""))
    stats = (await api.admin.get("/stats")).json()
    assert stats == {
        "ok": True,
        "tenants": 1,
        "accounts": 1,
        "messages": {"total": 2, "pending": 1, "sent": 0, "error": 1, "unknown": 0},
        "reports_pending": 1,
        "reports_dead": 0,
        "tenants_switched_off": 0,
        "active": True,
    }


async def test_metrics_count_requests_by_route_and_show_the_queue(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("m1"))
    await tenant.get("/messages/m1")
    answer = await (await api.client()).get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "gmp_pending_messages 1.0" in answer.text
    counted = 'gmp_http_request_seconds_count{method="GET",route="/messages/{id}",status="200"}'
    assert counted in answer.text
    assert "m1" not in answer.text


async def test_a_metrics_token_closes_metrics(settings: Settings, store: Store) -> None:
    closed = settings.model_copy(update={"metrics_token": SecretStr("scrape-me")})
    async with api_on(closed, store) as api:
        tenant = await api.as_tenant()
        assert (await (await api.client()).get("/metrics")).status_code == 401
        assert (await tenant.get("/metrics")).status_code == 401
        assert (await (await api.client("scrape-me")).get("/metrics")).status_code == 200
        assert (await api.admin.get("/metrics")).status_code == 200
        assert (await (await api.client("scrape-me")).get("/status")).status_code == 401


async def test_a_request_id_is_kept_or_made(api: Api) -> None:
    given = await api.admin.get("/status", headers={"X-Request-ID": "abc-123"})
    assert given.headers["x-request-id"] == "abc-123"
    made = await api.admin.get("/tenant/none", headers={"X-Request-ID": "no\tgood"})
    assert made.headers["x-request-id"] == made.json()["request_id"] != "no\tgood"
    assert len(made.headers["x-request-id"]) == 32


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_unknown_paths_and_methods_answer_in_the_common_shape(api: Api) -> None:
    for method, path, status, code in (
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/status/", 404, "not_found"),
        ("GET", "//status", 404, "not_found"),
        ("GET", "/tenant/a%2Fb", 404, "not_found"),
        ("GET", "/tenant/a%00", 404, "not_found"),
        ("DELETE", "/status", 405, "method_not_allowed"),
        ("GET", "/commands/run-now", 405, "method_not_allowed"),
        ("GET", "/" + "x" * 9000, 414, "url_too_long"),
    ):
        answer = await api.admin.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (status, code), (method, path)
        assert set(answer.json()) == {"detail", "code", "request_id"}
    assert (await api.admin.delete("/tenant/x/api-key/y")).status_code == 404
    allowed = await api.admin.request("PUT", "/account/x")
    assert allowed.headers["allow"] == "DELETE, GET, HEAD, PATCH"
