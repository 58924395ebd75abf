"""The mailbox of an account, as it is set over HTTP."""

from typing import Any

import httpx
import pytest

from mailproxy.inbound import Arrival
from mailproxy.instance import BounceSettings
from tests.api.conftest import Api

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)

MAILBOX = {
    "is_pec_account": True,
    "pec_address": "acme@pec.example",
    "imap_host": "imap.pec.example",
    "imap_port": 143,
    "imap_user": "reader",
    "imap_password": "0pen-sesame",
    "imap_folder": "Ricevute",
    "imap_ssl": False,
}


def account(**fields: Any) -> dict[str, Any]:
    return {"id": "pec", "tenant_id": "acme", "host": "smtp.pec.example", "port": 465, **fields}


@pytest.fixture
async def tenant(api: Api) -> httpx.AsyncClient:
    return await api.as_tenant(account=None)


async def test_a_mailbox_comes_back_with_everything_but_its_password(
    api: Api, tenant: httpx.AsyncClient
) -> None:
    assert (await tenant.post("/account", json=account(**MAILBOX))).json() == {"ok": True}
    shown = await tenant.get("/account/pec")
    assert "0pen-sesame" not in shown.text
    expected = {name: value for name, value in MAILBOX.items() if name != "imap_password"}
    assert {name: shown.json()[name] for name in expected} == expected
    assert shown.json()["imap_password_set"] is True
    owner = await api.store.directory.tenant("acme")
    assert owner is not None
    view = await api.store.directory.account(owner.pk, "pec")
    assert view is not None
    assert view.account.imap_password == "0pen-sesame"


async def test_an_ordinary_account_has_no_mailbox(tenant: httpx.AsyncClient) -> None:
    await tenant.post("/account", json=account())
    shown = (await tenant.get("/account/pec")).json()
    assert shown["is_pec_account"] is False
    assert not [name for name in shown if name.startswith("imap_")]


async def test_a_change_of_something_else_keeps_the_mailbox(tenant: httpx.AsyncClient) -> None:
    await tenant.post("/account", json=account(**MAILBOX))
    before = (await tenant.get("/account/pec")).json()
    assert (await tenant.patch("/account/pec", json={"ttl": 60, "imap_ssl": None})).status_code == 200
    after = (await tenant.get("/account/pec")).json()
    assert "imap_ssl" not in after
    changed = ("ttl", "updated_at", "imap_ssl")
    assert {k: v for k, v in after.items() if k not in changed} == {
        k: v for k, v in before.items() if k not in changed
    }


async def test_an_account_says_how_the_reading_of_its_mailbox_goes(
    api: Api, tenant: httpx.AsyncClient
) -> None:
    async def mailbox() -> dict[str, Any]:
        return dict((await tenant.get("/account/pec")).json()["mailbox"])

    await api.admin.post("/account", json=account(**MAILBOX))
    assert await mailbox() == {"state": "waiting", "failures": 0, "quarantined": 0}
    inbound = api.store.inbound
    epoch = await api.store.fleet.register("imap", "here", "imap")
    bounces = BounceSettings(False, None, 993, None, None, "INBOX", True, 60.0, None, "delete")
    (due,) = await inbound.account_mailboxes(bounces, held=(), limit=9)
    leased = await inbound.lease(due, epoch=epoch, ttl=60.0)
    assert leased is not None
    await inbound.settle(leased, epoch, failure="login refused", wait=60.0)
    shown = await mailbox()
    assert (shown["state"], shown["failures"], shown["failure"]) == ("failing", 1, "login refused")
    assert shown["checked_ts"] == shown["failing_since"] < shown["next_try"]
    arrival = Arrival(7, 1, b"f" * 32, b"Subject: \xe8")
    await inbound.lease(due, epoch=epoch, ttl=60.0, asked=True)
    assert await inbound.quarantine(leased, epoch, arrival, "too large") is None
    await inbound.opened(leased, epoch, 7)
    assert await inbound.quarantine(leased, epoch, arrival, "too large")
    assert (await mailbox())["quarantined"] == 1
    page = (await api.admin.get("/quarantine", params={"tenant_id": "acme"})).json()
    (mail,) = page["mails"]
    assert mail.pop("ts") >= shown["checked_ts"]
    assert mail == {
        "number": 1,
        "tenant_id": "acme",
        "account_id": "pec",
        "uidvalidity": 7,
        "uid": 1,
        "reason": "too large",
        "header": "Subject: \ufffd",
    }
    assert (await api.admin.get("/quarantine", params={"tenant_id": "other"})).json()["mails"] == []
    assert (await tenant.get("/quarantine")).status_code == 403
    assert "mailbox" not in (await tenant.get("/accounts")).json()["accounts"][0]


async def test_certified_mail_in_doubt_is_held_unless_told_otherwise(tenant: httpx.AsyncClient) -> None:
    await tenant.post("/account", json=account(is_pec_account=True))
    assert (await tenant.get("/account/pec")).json()["on_unknown_outcome"] == "hold"
    await tenant.post("/account", json=account(is_pec_account=True, on_unknown_outcome="retry"))
    assert (await tenant.get("/account/pec")).json()["on_unknown_outcome"] == "retry"


async def test_an_account_that_becomes_certified_holds_mail_in_doubt(tenant: httpx.AsyncClient) -> None:
    async def after(**change: Any) -> str:
        assert (await tenant.patch("/account/pec", json=change)).status_code == 200
        return str((await tenant.get("/account/pec")).json()["on_unknown_outcome"])

    await tenant.post("/account", json=account())
    assert await after(is_pec_account=True, on_unknown_outcome="retry") == "retry"
    assert await after(is_pec_account=True) == "retry"
    assert await after(is_pec_account=False) == "retry"
    assert await after(is_pec_account=True) == "hold"
    assert await after(is_pec_account=False) == "hold"


@pytest.mark.parametrize("stored", [{"imap_password": "0pen"}, {"user": "me", "password": "s3cret"}])
async def test_a_tenant_cannot_have_a_stored_password_sent_to_another_imap_server(
    api: Api, tenant: httpx.AsyncClient, stored: dict[str, str]
) -> None:
    await api.admin.post("/account", json=account(imap_host="imap.pec.example", **stored))
    answer = await tenant.patch("/account/pec", json={"imap_host": "imap.example.com"})
    assert (answer.status_code, answer.json()["code"]) == (400, "password_required")
    own = {"imap_host": "imap.example.com", "imap_password": "mine"}
    assert (await tenant.patch("/account/pec", json=own)).status_code == 200


async def test_a_tenant_sets_no_imap_server_inside(api: Api, tenant: httpx.AsyncClient) -> None:
    answer = await tenant.post("/account", json=account(imap_host="127.0.0.1"))
    assert (answer.status_code, answer.json()["code"]) == (400, "host_not_allowed")
    assert (await api.admin.post("/account", json=account(imap_host="127.0.0.1"))).status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("imap_port", 0),
        ("imap_folder", "a\r\nb"),
        ("imap_host", "imap://x"),
        ("pec_address", "nobody"),
        ("is_pec_account", "perhaps"),
    ],
)
async def test_what_is_no_mailbox_is_refused(tenant: httpx.AsyncClient, field: str, value: object) -> None:
    answer = await tenant.post("/account", json=account(**{field: value}))
    assert answer.status_code == 422
    assert [fault["loc"][-1] for fault in answer.json()["detail"]] == [field]
