"""Certified mail at the door: RFC 6109 asks more of a message than SMTP does."""

import base64
from typing import Any

import httpx
import pytest

from tests.api.conftest import Api, message

ADDRESS = "acme@pec.example"


@pytest.fixture
async def tenant(api: Api) -> httpx.AsyncClient:
    client = await api.as_tenant(account=None)
    await api.account("acme", "main", is_pec_account=True, user=ADDRESS)
    await api.account("acme", "plain")
    return client


def certified(identity: str = "m1", **fields: Any) -> dict[str, Any]:
    return message(identity, **{"from": f"Acme <{ADDRESS}>"} | fields)


async def rejections(tenant: httpx.AsyncClient, given: dict[str, Any]) -> list[tuple[str, str]]:
    answer = await tenant.post("/commands/add-messages", json={"messages": [given]})
    if answer.status_code == 200:
        return []
    return [(one["code"], one["reason"]) for one in answer.json()["detail"]["rejected"]]


async def test_certified_mail_is_shown_with_its_recipients(tenant: httpx.AsyncClient) -> None:
    given = certified(to=["B@Pec.example", "c@pec.example"], cc="d@example.org", return_path=ADDRESS.upper())
    assert await rejections(tenant, given) == []
    assert await rejections(tenant, message("m2", account_id="plain", bcc="e@example.org")) == []
    shown = (await tenant.get("/messages/m1")).json()
    assert (shown["is_pec"], shown["pec_status"]) == (True, "waiting")
    everybody = ["b@pec.example", "c@pec.example", "d@example.org"]
    assert shown["pec_recipients"] == [{"address": one, "state": "waiting"} for one in everybody]
    plain = (await tenant.get("/messages/m2")).json()
    assert plain["is_pec"] is False
    assert "pec_status" not in plain


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"from": "other@pec.example"}, "pec_sender"),
        ({"return_path": "bounces@pec.example"}, "pec_return_path"),
        ({"return_path": "<>"}, "pec_return_path"),
        ({"bcc": "secret@pec.example"}, "pec_bcc"),
    ],
)
async def test_what_a_provider_would_refuse_is_refused_at_the_door(
    tenant: httpx.AsyncClient, fields: dict[str, Any], code: str
) -> None:
    ((found, reason),) = await rejections(tenant, certified(**fields))
    assert found == code
    assert "certified mail" in reason
    shown = (await tenant.get("/messages/m1")).json()
    assert (shown["status"], shown["is_pec"]) == ("error", False)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_size_times_recipients_is_at_most_thirty_megabytes(tenant: httpx.AsyncClient) -> None:
    content = base64.b64encode(bytes(8 << 20)).decode()
    part = {"filename": "a.bin", "storage_path": content, "fetch_mode": "base64"}
    two, three = ["b@pec.example", "c@pec.example"], [f"{letter}@pec.example" for letter in "bcd"]
    assert await rejections(tenant, certified("two", to=two, attachments=[part])) == []
    ((code, reason),) = await rejections(tenant, certified("three", to=three, attachments=[part]))
    assert code == "message_too_large"
    assert "3 recipients" in reason


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_an_address_may_be_given_where_the_login_is_none(api: Api, tenant: httpx.AsyncClient) -> None:
    await api.account("acme", "main", is_pec_account=True, user="m123", pec_address="Box@pec.example")
    ((code, _),) = await rejections(tenant, certified("m1"))
    assert code == "pec_sender"
    assert await rejections(tenant, certified("m2", **{"from": "box@pec.example"})) == []
    await api.account("acme", "main", is_pec_account=True, user="m123")
    assert await rejections(tenant, certified("m3")) == []


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_suppressed_recipient_keeps_certified_mail_from_everybody(tenant: httpx.AsyncClient) -> None:
    await tenant.post("/suppressions", json={"address": "c@pec.example"})
    both = ["b@pec.example", "C@pec.example"]
    ((code, reason),) = await rejections(tenant, certified(to=both))
    assert code == "recipient_suppressed"
    assert reason == (
        "to: C@pec.example: suppressed, and certified mail goes to all of its recipients or to none"
    )
    assert (await tenant.get("/messages/m1")).json()["status"] == "error"
    assert await rejections(tenant, certified(to=both, ignore_suppressions=True)) == []
    shown = (await tenant.get("/messages/m1")).json()
    assert [one["address"] for one in shown["pec_recipients"]] == ["b@pec.example", "c@pec.example"]
    assert await rejections(tenant, certified("m2", to=both, account_id="plain")) == []


async def test_a_message_given_again_is_certified_as_its_last_form_says(tenant: httpx.AsyncClient) -> None:
    assert await rejections(tenant, certified(to="b@pec.example")) == []
    assert await rejections(tenant, certified(to="c@pec.example")) == []
    shown = (await tenant.get("/messages/m1")).json()
    assert [one["address"] for one in shown["pec_recipients"]] == ["c@pec.example"]
    assert await rejections(tenant, certified(account_id="plain")) == []
    assert (await tenant.get("/messages/m1")).json()["is_pec"] is False


async def test_deleted_mail_leaves_nothing_behind(api: Api, tenant: httpx.AsyncClient) -> None:
    await rejections(tenant, certified())
    answer = await tenant.post("/commands/delete-messages", json={"ids": ["m1"]})
    assert answer.json()["removed"] == 1
    await rejections(tenant, certified())
    assert (await tenant.delete("/account/main")).status_code == 200
    await api.account("acme", "main")
    await rejections(tenant, message())
    assert (await tenant.get("/messages/m1")).json()["is_pec"] is False
