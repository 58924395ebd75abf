"""Why a message has not gone, over HTTP."""

from typing import Any

import httpx
import pytest

from mailproxy.model import AccountCondition, EventType, Status
from tests.api.conftest import Api, message
from tests.api.test_submission import add, claim_all, finish

LATER = 4070908800


async def blocking(client: httpx.AsyncClient, identity: str = "m1") -> dict[str, dict[str, Any]]:
    """What keeps the message, by code; that no workers run is left out."""
    answer = await client.get(f"/messages/{identity}/explanation")
    assert answer.status_code == 200, answer.text
    found = {one["code"]: one for one in answer.json()["findings"] if one["blocks"]}
    found.pop("no_workers", None)
    return found


async def test_a_held_message_names_the_call_that_lets_it_go(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("m1", batch_code="b1"))
    await tenant.post("/commands/suspend", params={"batch_code": "b1"})
    shown = (await tenant.get("/messages/m1/explanation")).json()
    assert (shown["ok"], shown["id"], shown["status"]) == (True, "m1", "suspended")
    (held,) = (await blocking(tenant)).values()
    assert (held["code"], held["action"], held["object"]) == ("suspended", "activate_batch", "b1")
    method, call = held["remedy"].split()
    assert (await api.admin.request(method, call)).json()["suspended_batches"] == []
    assert await blocking(tenant) == {}


async def test_a_rate_limited_message_says_until_when(api: Api) -> None:
    tenant = await api.as_tenant()
    await api.account("acme", "main", limit_per_hour=1)
    await add(tenant, message("m1"), message("m2"))
    await claim_all(api.store)
    (full,) = (await blocking(tenant, "m2")).values()
    assert (full["code"], full["action"], full["object"]) == ("rate_limit", "raise_account_limit", "main")
    assert full["until"] == (await tenant.get("/account/main")).json()["limits"]["hour"]["next"]
    assert "used 1 of its 1 messages a hour" in full["text"]


async def test_a_deferred_message_says_when_it_goes(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("order/1 é?", deferred_ts=LATER))
    (later,) = (await blocking(tenant, "order%2F1%20%C3%A9%3F")).values()
    assert (later["code"], later["until"]) == ("not_due", LATER)
    assert "remedy" not in later


async def test_a_switched_off_account_and_the_call_that_switches_it_on(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("m1"))
    stored = await api.store.directory.tenant("acme")
    assert stored is not None
    main = (await api.store.directory.account_ids(stored.pk))["main"]
    refused = AccountCondition.BREAKER_OPEN
    await api.store.queue.back_off(main, condition=refused, reason="tls", cause="expired", delay=1e6)
    (breaker,) = (await blocking(tenant)).values()
    assert (breaker["code"], breaker["remedy"]) == ("breaker_open", "POST /account/main/reset")
    assert (await tenant.post("/account/main/reset")).status_code == 200
    assert await blocking(tenant) == {}


async def test_a_message_in_doubt_asks_for_a_decision(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("m1"))
    await finish(api.store, "m1", Status.UNKNOWN, EventType.UNKNOWN)
    doubt = (await blocking(tenant))["unknown"]
    assert doubt["remedy"].startswith("POST /messages/m1/resolve ")


@pytest.mark.bad_input("B36")
async def test_the_admin_names_the_tenant_and_what_is_not_there_is_missing(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("m1"))
    named = await api.admin.get("/messages/m1/explanation", params={"tenant_id": "acme"})
    assert named.json()["id"] == "m1"
    nobodys = await tenant.get("/messages/m9/explanation")
    assert (nobodys.status_code, nobodys.json()["code"]) == (404, "message_not_found")
    unknown = await api.admin.get("/messages/m1/explanation", params={"tenant_id": "none"})
    assert unknown.status_code == 404
    unnamed = await api.admin.get("/messages/m1/explanation")
    assert unnamed.status_code == (await api.admin.get("/messages/m1")).status_code
