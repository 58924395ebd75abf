"""Suppression lists over HTTP, and what they mean for the messages of a call."""

import time
from typing import Any

import httpx
import pytest

from mailproxy.model import State
from tests.api.conftest import Api, message

GONE, HERE = "gone@example.org", "here@example.org"


async def suppress(client: httpx.AsyncClient, *addresses: str, **params: str) -> httpx.Response:
    entries = {"suppressions": [{"address": one} for one in addresses]}
    return await client.post("/suppressions", json=entries, params=params)


async def listed(client: httpx.AsyncClient, **params: Any) -> list[str]:
    answer = await client.get("/suppressions", params=params)
    assert answer.status_code == 200, answer.text
    return [one["address"] for one in answer.json()["suppressions"]]


async def send(client: httpx.AsyncClient, *messages: dict[str, Any]) -> httpx.Response:
    return await client.post("/commands/add-messages", json={"messages": list(messages)})


async def test_addresses_are_added_alone_or_many_at_once_listed_by_pages_and_removed(api: Api) -> None:
    acme = await api.as_tenant()
    until = int(time.time()) + 3600
    one = {"address": "Bob <Bob@B\u00dccher.example>", "reason": "complaint", "expires_at": until}
    assert (await acme.post("/suppressions", json=one)).json() == {
        "ok": True,
        "added": 1,
        "updated": 0,
        "refused": [],
    }
    many = (await suppress(acme, GONE, GONE.upper(), "bob@xn--bcher-kva.example", "no one")).json()
    assert (many["added"], many["updated"]) == (1, 1)
    assert [(each["address"], each["code"]) for each in many["refused"]] == [("no one", "invalid_address")]
    page = (await acme.get("/suppressions", params={"limit": 1})).json()
    (bob,) = page["suppressions"]
    assert isinstance(bob.pop("created_at"), int)
    assert bob == {"address": "bob@xn--bcher-kva.example", "reason": "manual"}
    assert await listed(acme, cursor=page["next_cursor"]) == [GONE]
    assert await listed(acme, q="GONE@") == await listed(acme, reason="manual", q="gone") == [GONE]
    assert await listed(acme, reason="complaint") == []
    for status in (200, 404):
        assert (await acme.delete("/suppressions", params={"address": GONE.upper()})).status_code == status
    assert await listed(acme) == ["bob@xn--bcher-kva.example"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "validation_error"),
        ({"suppressions": []}, 422, "validation_error"),
        ({"address": GONE, "suppressions": [{"address": HERE}]}, 422, "validation_error"),
        ({"suppressions": [{"address": f"{n}@x.org"} for n in range(1001)]}, 422, "validation_error"),
        ({"address": GONE, "reason": "dislike"}, 422, "validation_error"),
        ({"address": "no one"}, 400, "nothing_suppressed"),
        ({"address": GONE, "expires_at": 1}, 400, "nothing_suppressed"),
    ],
)
async def test_what_is_no_entry_is_refused(api: Api, body: dict[str, Any], status: int, code: str) -> None:
    acme = await api.as_tenant()
    answer = await acme.post("/suppressions", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await listed(acme) == []


async def test_a_tenant_has_its_own_list_and_the_admin_names_whose(api: Api) -> None:
    acme, other = await api.as_tenant(), await api.as_tenant("other")
    await suppress(acme, GONE)
    assert await listed(other) == []
    assert (await other.delete("/suppressions", params={"address": GONE})).status_code == 404
    assert (await suppress(other, HERE, tenant_id="acme")).status_code == 401
    assert await listed(api.admin, tenant_id="acme") == [GONE]
    assert (await suppress(api.admin, HERE, tenant_id="acme")).json()["added"] == 1
    assert (await suppress(api.admin, HERE)).status_code == 422
    assert (await suppress(api.admin, HERE, tenant_id="nobody")).status_code == 404
    assert (await api.admin.get("/suppressions", params={"tenant_id": "nobody"})).status_code == 404
    assert (await send(other, message(to=GONE))).status_code == 200
    assert (await send(acme, message(to=GONE))).status_code == 400


async def test_a_message_to_none_but_suppressed_addresses_is_refused_and_names_them(api: Api) -> None:
    acme = await api.as_tenant()
    await suppress(acme, GONE)
    answer = (await send(acme, message("m1", to="Gone <GONE@Example.org>"), message("m2", to=HERE))).json()
    assert [one["id"] for one in answer["accepted"]] == ["m2"]
    (rejected,) = answer["rejected"]
    assert (rejected["id"], rejected["code"]) == ("m1", "recipient_suppressed")
    assert rejected["reason"].startswith("to: GONE@Example.org: suppressed")
    shown = (await acme.get("/messages/m1")).json()
    assert shown["status"] == State.ERROR
    await acme.delete("/suppressions", params={"address": GONE})
    assert (await send(acme, message("m1", to=GONE))).json()["queued"] == 1


async def test_of_several_recipients_the_suppressed_ones_are_named_and_the_rest_goes(api: Api) -> None:
    acme = await api.as_tenant()
    await suppress(acme, GONE)
    mixed = message(to=[HERE, GONE], cc=["third@example.org"])
    (accepted,) = (await send(acme, mixed)).json()["accepted"]
    assert accepted["suppressed"] == [GONE]
    shown = (await acme.get("/messages/m1")).json()
    assert shown["refused_recipients"] == [
        {"address": GONE, "code": 550, "enhanced": "5.7.1", "text": "recipient_suppressed: manual"}
    ]
    (accepted,) = (await send(acme, mixed | {"ignore_suppressions": True})).json()["accepted"]
    assert "suppressed" not in accepted
    assert "refused_recipients" not in (await acme.get("/messages/m1")).json()
    assert (await send(acme, message(to=GONE, ignore_suppressions="yes"))).status_code == 422


async def test_a_tenant_chooses_whether_bounces_suppress(api: Api) -> None:
    acme = await api.as_tenant()
    assert (await acme.get("/tenant/acme")).json()["suppress_bounces"] is False
    assert (await acme.put("/tenant/acme", json={"suppress_bounces": True})).status_code == 200
    assert (await acme.put("/tenant/acme", json={"name": "Acme"})).status_code == 200
    assert (await acme.get("/tenant/acme")).json()["suppress_bounces"] is True
