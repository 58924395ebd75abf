"""SMTP accounts over HTTP."""

import time

import pytest

from mailproxy.model import AccountCondition, EventDetail, EventType, Status
from mailproxy.records import Finish
from tests.api.conftest import Api, message
from tests.api.test_submission import add, claim_all
from tests.support.tls import Authority

FULL = {
    "id": "full",
    "host": "smtp.example.com",
    "port": 587,
    "user": "me",
    "password": "s3cret",
    "use_tls": True,
    "tls_verify": False,
    "ttl": 120,
    "batch_size": 5,
    "max_retries": 2,
    "retry_delays": [1, 2.5],
    "on_unknown_outcome": "hold",
    "limit_per_minute": 60,
    "limit_per_hour": 0,
    "limit_behavior": "reject",
}


async def test_an_account_comes_back_with_everything_but_its_password(api: Api) -> None:
    tenant = await api.as_tenant(account=None)
    assert (await tenant.post("/account", json=FULL)).json() == {"ok": True}
    shown = await tenant.get("/account/full")
    assert "s3cret" not in shown.text
    account = shown.json()
    expected = {name: value for name, value in FULL.items() if name not in ("password", "limit_per_hour")}
    assert {name: account[name] for name in expected} == expected
    assert account["tenant_id"] == "acme"
    assert account["password_set"] is True
    assert account["state"] == "ok"
    assert account["limits"]["minute"] == {"limit": 60, "used": 0, "left": 60}
    listed = (await tenant.get("/accounts")).json()
    assert listed["ok"] is True
    assert [one["id"] for one in listed["accounts"]] == ["full"]


async def test_a_password_that_is_not_given_stays(api: Api) -> None:
    tenant = await api.as_tenant(account=None)
    await tenant.post("/account", json=FULL)
    await tenant.post("/account", json={"id": "full", "host": FULL["host"], "port": 465, "ttl": None})
    account = (await tenant.get("/account/full")).json()
    assert account["port"] == 465
    assert account["password_set"] is True
    assert account["ttl"] == 300
    assert "user" not in account


async def test_a_patch_may_leave_tls_to_the_server_again(api: Api) -> None:
    tenant = await api.as_tenant()
    for wanted in (True, None):
        assert (await tenant.patch("/account/main", json={"use_tls": wanted})).status_code == 200
        assert (await tenant.get("/account/main")).json().get("use_tls") is wanted
    assert (await tenant.patch("/account/main", json={"host": None, "ttl": 60})).status_code == 200
    assert (await tenant.get("/account/main")).json()["host"] == "127.0.0.1"


async def test_a_patch_changes_only_what_it_names(api: Api) -> None:
    tenant = await api.as_tenant(account=None)
    await tenant.post("/account", json=FULL)
    assert (await tenant.patch("/account/full", json={"port": 2525})).json() == {"ok": True}
    account = (await tenant.get("/account/full")).json()
    assert (account["port"], account["user"], account["limit_per_minute"]) == (2525, "me", 60)
    assert (account["retry_delays"], account["on_unknown_outcome"]) == ([1, 2.5], "hold")


async def test_the_same_id_belongs_to_each_tenant_apart(api: Api) -> None:
    one = await api.as_tenant("one")
    two = await api.as_tenant("two")
    await one.patch("/account/main", json={"host": "one.example.com"})
    assert (await two.get("/account/main")).json()["host"] == "127.0.0.1"
    assert (await two.delete("/account/main")).json() == {"ok": True}
    assert (await one.get("/account/main")).status_code == 200


async def test_accounts_are_listed_in_pages(api: Api) -> None:
    tenant = await api.as_tenant(account=None)
    for number in range(3):
        await api.account("acme", f"a{number}")
    page = (await tenant.get("/accounts", params={"limit": 2})).json()
    assert [one["id"] for one in page["accounts"]] == ["a0", "a1"]
    rest = (await tenant.get("/accounts", params={"limit": 2, "cursor": page["next_cursor"]})).json()
    assert [one["id"] for one in rest["accounts"]] == ["a2"]
    assert "next_cursor" not in rest


async def test_missing_and_foreign_accounts_answer_alike(api: Api) -> None:
    await api.tenant("other", account="theirs")
    tenant = await api.as_tenant()
    for method, path, status in (
        ("GET", "/account/{}", 404),
        ("PATCH", "/account/{}", 404),
        ("POST", "/account/{}/reset", 404),
        ("DELETE", "/account/{}", 400),
    ):
        answers = []
        for account_id in ("theirs", "nobodys"):
            answer = await tenant.request(method, path.format(account_id), json={})
            assert answer.status_code == status
            body = answer.json()
            answers.append((body["detail"].replace(account_id, "X"), body["code"]))
        assert answers[0] == answers[1]
    assert answers[0][0] == "account not found or not owned by tenant"


async def test_the_admin_names_the_tenant(api: Api) -> None:
    await api.tenant()
    assert (await api.admin.get("/account/main", params={"tenant_id": "acme"})).status_code == 200
    missing = await api.admin.get("/account/main")
    assert missing.status_code == 422
    assert missing.json()["detail"] == [
        {"type": "missing", "loc": ["query", "tenant_id"], "msg": "Field required"}
    ]
    assert (await api.admin.get("/accounts", params={"tenant_id": ""})).status_code == 400
    unknown = await api.admin.post("/account", json={"id": "a", "tenant_id": "none", "host": "h", "port": 25})
    assert unknown.status_code == 404
    assert unknown.json()["detail"] == "Tenant 'none' not found"
    nobody = await api.admin.post("/account", json={"id": "a", "host": "h", "port": 25})
    assert nobody.json()["detail"][0]["loc"] == ["body", "tenant_id"]


async def test_an_account_is_kept_while_one_of_its_messages_is_handed_over(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("m1"), message("m2"))
    epoch, claimed = await claim_all(api.store)
    await api.store.queue.intend(epoch, [claimed[0].id])
    refused = await tenant.delete("/account/main")
    assert (refused.status_code, refused.json()["code"]) == (409, "account_busy")
    assert [one["id"] for one in (await tenant.get("/messages")).json()["messages"]] == ["m1", "m2"]
    one = claimed[0]
    end = Finish(one.id, one.revision, one.attempt, one.claim, Status.SENT, EventType.SENT, EventDetail())
    await api.store.queue.settle(epoch, [end])
    assert (await tenant.delete("/account/main")).json() == {"ok": True}
    assert await api.store.queue.intend(epoch, [claimed[1].id]) == frozenset()


async def test_a_full_window_says_when_the_next_message_may_go(api: Api) -> None:
    tenant = await api.as_tenant(account=None)
    await api.account("acme", "main", limit_per_hour=1)
    await add(tenant, message("m1"))
    assert "next" not in (await tenant.get("/account/main")).json()["limits"]["hour"]
    before = time.time()
    await claim_all(api.store)
    hour = (await tenant.get("/account/main")).json()["limits"]["hour"]
    assert (hour["used"], hour["left"]) == (1, 0)
    assert isinstance(hour["next"], int)
    assert before + 3600 <= hour["next"] <= time.time() + 3600 + 300 + 2


async def test_unknown_fields_of_an_account_are_ignored_with_a_warning(api: Api) -> None:
    tenant = await api.as_tenant(account=None)
    warned = {"ok": True, "warnings": ["unknown field 'prot' ignored; did you mean 'port'?"]}
    assert (await tenant.post("/account", json=FULL | {"prot": 1})).json() == warned
    assert (await tenant.patch("/account/full", json={"prot": 1})).json() == warned


async def test_a_reset_closes_the_breaker(api: Api) -> None:
    tenant = await api.as_tenant()
    owner = await api.store.directory.tenant("acme")
    assert owner is not None
    pk = (await api.store.directory.account_ids(owner.pk))["main"]
    await api.store.queue.back_off(
        pk, condition=AccountCondition.BREAKER_OPEN, reason="authentication", cause="535 no", delay=1.0
    )
    broken = (await tenant.get("/account/main")).json()
    assert broken["state"] == "breaker_open"
    assert broken["state_reason"] == "authentication"
    assert isinstance(broken["state_since"], int)
    assert (await tenant.post("/account/main/reset")).json() == {"ok": True}
    assert (await tenant.get("/account/main")).json()["state"] == "ok"


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.bad_input("B28")
async def test_impossible_accounts_are_refused_field_by_field(api: Api) -> None:
    tenant = await api.as_tenant(account=None)
    for field, wrong in (
        ("port", 0),
        ("port", 65536),
        ("port", "smtp"),
        ("host", "smtp://example.com"),
        ("host", "example.com/path"),
        ("host", "two words"),
        ("host", ""),
        ("id", "a/b"),
        ("id", ""),
        ("id", "x" * 65),
        ("limit_per_minute", -1),
        ("limit_per_hour", "10/m"),
        ("limit_behavior", "drop"),
        ("on_unknown_outcome", "maybe"),
        ("ttl", 0),
        ("retry_delays", [-1]),
        ("user", "a\nb"),
        ("password", "x" * 5000),
    ):
        answer = await tenant.post("/account", json=FULL | {field: wrong})
        assert answer.status_code == 422, (field, wrong)
        fault = answer.json()["detail"][0]
        assert fault["loc"][:2] == ["body", field]
        assert set(fault) == {"type", "loc", "msg"}
        assert "s3cret" not in answer.text


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_certificates_to_trust_are_checked_at_the_door(api: Api) -> None:
    await api.tenant()
    pem = Authority().pem
    key = pem.replace("CERTIFICATE", "PRIVATE KEY")
    for wrong in (
        "no",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        key,
        "\u00e4",
        pem + key,
    ):
        answer = await api.admin.patch("/account/main?tenant_id=acme", json={"tls_ca": wrong})
        assert answer.status_code == 422, wrong
        assert answer.json()["detail"][0]["loc"] == ["body", "tls_ca"]
        assert "AAAA" not in answer.text
    await api.admin.patch("/account/main?tenant_id=acme", json={"tls_ca": pem + Authority().pem})
    assert (await api.admin.get("/account/main?tenant_id=acme")).json()["tls_ca"].startswith(pem)
    await api.admin.patch("/account/main?tenant_id=acme", json={"tls_ca": ""})
    assert "tls_ca" not in (await api.admin.get("/account/main?tenant_id=acme")).json()
