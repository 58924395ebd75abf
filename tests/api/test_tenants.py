"""Tenants and their keys over HTTP."""

import time
import uuid
from dataclasses import replace
from typing import Any

import pytest

from mailproxy import tokens
from mailproxy.figures import SyncStanding
from mailproxy.reports import CallSettled
from mailproxy.store import Store
from tests.api.conftest import Api, message

SECRETS = {"method": "basic", "user": "u", "password": "s3cret-pw", "token": "s3cret-tok"}


async def test_a_new_tenant_gets_its_key_once(api: Api) -> None:
    made = await api.admin.post("/tenant", json={"id": "acme", "name": "Acme"})
    assert made.status_code == 200
    assert made.json()["ok"] is True
    assert tokens.key_id_of(made.json()["api_key"])
    again = await api.admin.post("/tenant", json={"id": "acme", "name": "Acme"})
    assert again.json() == {"ok": True}
    assert again.headers["content-type"] == "application/json"


async def test_a_tenant_is_shown_without_its_secrets(api: Api) -> None:
    await api.tenant(
        client_auth=SECRETS,
        client_base_url="https://client.example/app",
        rate_limits={"hourly": 10, "daily": 0},
        name="Acme",
    )
    shown = await api.admin.get("/tenant/acme")
    assert shown.status_code == 200
    assert "s3cret" not in shown.text
    tenant = shown.json()
    assert tenant["client_auth"] == {"method": "basic", "user": "u", "token_set": True, "password_set": True}
    assert tenant["rate_limits"] == {"hourly": 10, "daily": 0}
    assert (tenant["id"], tenant["name"], tenant["active"]) == ("acme", "Acme", True)
    assert isinstance(tenant["created_at"], int)
    assert "ok" not in tenant
    assert None not in tenant.values()


async def test_posting_a_tenant_again_empties_what_is_not_given(api: Api) -> None:
    await api.tenant(client_auth=SECRETS, name="Acme", client_base_url="https://client.example")
    await api.admin.post("/tenant", json={"id": "acme"})
    tenant = (await api.admin.get("/tenant/acme")).json()
    assert tenant["client_auth"] == {"method": "none"}
    assert "name" not in tenant
    assert "client_base_url" not in tenant


async def test_a_change_keeps_what_it_does_not_name(api: Api) -> None:
    await api.tenant(client_auth=SECRETS, name="Acme", rate_limits={"hourly": 5})
    changed = await api.admin.put(
        "/tenant/acme", json={"client_base_url": "https://client.example", "name": None}
    )
    assert changed.json() == {"ok": True}
    await api.admin.put("/tenant/acme", json={"client_auth": {"method": "basic", "user": "v"}})
    stored = await api.store.directory.tenant("acme")
    assert stored is not None
    assert stored.name == "Acme"
    assert stored.client_base_url == "https://client.example"
    assert stored.client_auth.user == "v"
    assert stored.client_auth.password == "s3cret-pw"
    assert (await api.admin.get("/tenant/acme")).json()["rate_limits"] == {"hourly": 5}
    assert (await api.admin.put("/tenant/acme", json={})).json() == {"ok": True}


async def test_the_calls_to_tenants_are_shown_as_they_stand(api: Api) -> None:
    tenant = await api.client(await api.tenant("acme", client_base_url="http://127.0.0.1:9"))
    await api.tenant("bare", account=None)
    await tenant.post("/commands/add-messages", json={"messages": [message("bad", to="")]})

    async def standing(**params: str) -> dict[str, Any]:
        answer = (await api.admin.get("/tenants/sync-status", params=params)).json()
        assert answer["sync_interval_seconds"] == 300
        return {one["id"]: one for one in answer["tenants"]}

    fresh = {"active": True, "in_dnd": False, "failures": 0, "reports_dead": 0}
    due = {"client_base_url": "http://127.0.0.1:9", "reports_pending": 1, "next_sync_due": True}
    assert await standing() == {
        "acme": {"id": "acme", **due, **fresh},
        "bare": {"id": "bare", "reports_pending": 0, "next_sync_due": False, **fresh},
    }
    reporter = await api.store.fleet.register("o", "n", "reporter")
    [call] = await api.store.reports.claim_tenants(reporter, limit=9, ttl=60, interval=300, fallback=False)
    events = [report.event_id for report in await api.store.reports.pending(call.tenant_pk, 9)]
    await api.store.reports.acknowledge(call.tenant_pk, reporter, events)
    quiet = CallSettled(fails=0, called=True, muted_until=4e9)
    await api.store.reports.settle_call(call.tenant_pk, reporter, quiet)
    muted = (await standing())["acme"]
    assert muted["last_sync_ts"] <= time.time()
    assert (muted["in_dnd"], muted["dnd_until"], muted["next_sync_due"]) == (True, 4_000_000_000, False)
    assert muted["reports_pending"] == 0
    page = (await api.admin.get("/tenants/sync-status", params={"limit": 1})).json()
    assert [one["id"] for one in page["tenants"]] == ["acme"]
    assert set(await standing(cursor=page["next_cursor"])) == {"bare"}


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({}, False),
        ({"last_call_at": None}, True),
        ({"last_call_at": 600.0}, True),
        ({"last_call_at": 600.0, "muted_until": 1001.0}, False),
        ({"last_call_at": 600.0, "muted_until": 1000.0}, True),
        ({"last_call_at": 600.0, "next_try_at": 1001.0}, False),
        ({"pending": 1}, True),
        ({"pending": 1, "muted_until": 1001.0}, True),
        ({"pending": 1, "next_try_at": 1001.0}, False),
        ({"pending": 1, "switched_off": "gone"}, False),
        ({"pending": 1, "active": False}, True),
        ({"last_call_at": None, "active": False}, False),
        ({"poked": True, "muted_until": 1001.0, "next_try_at": 1001.0}, True),
    ],
    ids=str,
)
def test_a_tenant_is_due_when_there_is_something_to_tell_or_ask(changes: dict[str, Any], due: bool) -> None:
    quiet = SyncStanding("acme", None, True, "http://x", 1000.0, 900.0, None, None, 0, None, False, 0)
    standing = replace(quiet, **changes)
    assert standing.is_due(300.0, fallback=False) is due
    assert replace(standing, client_base_url=None).is_due(300.0, fallback=True) is due
    assert not replace(standing, client_base_url=None).is_due(300.0, fallback=False)


async def test_tenants_are_listed_in_pages(api: Api) -> None:
    for number in range(5):
        await api.tenant(f"t{number}", account=None, active=number != 3)
    seen, cursor = [], ""
    while True:
        page = (await api.admin.get("/tenants", params={"limit": 2, "cursor": cursor})).json()
        seen += [tenant["id"] for tenant in page["tenants"]]
        assert len(page["tenants"]) <= 2
        if "next_cursor" not in page:
            break
        cursor = page["next_cursor"]
    assert seen == ["t0", "t1", "t2", "t3", "t4"]
    active = (await api.admin.get("/tenants", params={"active_only": "true"})).json()
    assert [tenant["id"] for tenant in active["tenants"]] == ["t0", "t1", "t2", "t4"]


async def test_a_deleted_tenant_takes_its_accounts_with_it(api: Api) -> None:
    await api.tenant()
    assert (await api.admin.delete("/tenant/acme")).json() == {"ok": True}
    assert (await api.admin.get("/tenant/acme")).status_code == 404
    assert (await api.admin.get("/accounts", params={"tenant_id": "acme"})).json()["accounts"] == []


async def test_a_missing_tenant_is_404_everywhere(api: Api) -> None:
    for method, path in (
        ("GET", "/tenant/none"),
        ("PUT", "/tenant/none"),
        ("DELETE", "/tenant/none"),
        ("POST", "/tenant/none/api-key"),
        ("DELETE", "/tenant/none/api-key"),
    ):
        answer = await api.admin.request(method, path, json={})
        assert answer.status_code == 404, (method, path)
        assert answer.json()["detail"] == "Tenant 'none' not found"
        assert answer.json()["code"] == "tenant_not_found"


async def test_a_new_key_replaces_the_old_one_at_once_or_after_its_time(api: Api) -> None:
    first = await api.client(await api.tenant())
    assert (await first.get("/accounts")).status_code == 200
    made = await api.admin.post("/tenant/acme/api-key")
    second = await api.client(made.json()["api_key"])
    assert (await first.get("/accounts")).status_code == 401
    assert (await second.get("/accounts")).status_code == 200
    made = await api.admin.post("/tenant/acme/api-key", json={"keep_previous": 60})
    third = await api.client(made.json()["api_key"])
    assert (await second.get("/accounts")).status_code == 200
    assert (await third.get("/accounts")).status_code == 200
    assert (await api.admin.delete("/tenant/acme/api-key")).json() == {"ok": True}
    assert (await second.get("/accounts")).status_code == 401
    assert (await third.get("/accounts")).status_code == 401


async def test_a_key_that_would_have_ended_already_is_refused(api: Api) -> None:
    first = await api.client(await api.tenant())
    for past in (0, time.time() - 1, "2020-01-01T00:00:00Z"):
        refused = await api.admin.post("/tenant/acme/api-key", json={"expires_at": past})
        assert refused.status_code == 422
        [fault] = refused.json()["detail"]
        assert fault["loc"] == ["body", "expires_at"]
    assert (await first.get("/accounts")).status_code == 200


async def test_limits_of_a_tenant_hold_over_all_its_accounts(api: Api) -> None:
    await api.tenant("acme", account=None, rate_limits={"hourly": 3})
    await api.tenant("other")
    await api.admin.put("/tenant/acme", json={"name": "Acme"})
    for account in ("one", "two"):
        await api.account("acme", account)
        added = [message(f"{account}{n}", account_id=account, tenant_id="acme") for n in range(3)]
        await api.admin.post("/commands/add-messages", json={"messages": added})
    await api.admin.post("/commands/add-messages", json={"messages": [message(tenant_id="other")]})
    assert await claimable(api.store, "acme", "one", at_most=2) == 2
    assert await claimable(api.store, "acme", "two", at_most=9) == 1
    assert await claimable(api.store, "acme", "one", at_most=9) == 0
    assert await claimable(api.store, "other", "main", at_most=9) == 1
    await api.admin.put("/tenant/acme", json={"rate_limits": {"hourly": 4}})
    assert await claimable(api.store, "acme", "two", at_most=9) == 1
    await api.admin.put("/tenant/acme", json={"rate_limits": {"hourly": 0}})
    assert await claimable(api.store, "acme", "two", at_most=9) == 1


async def claimable(store: Store, tenant_id: str, account_id: str, *, at_most: int) -> int:
    """How many messages of the account a process of its own gets."""
    tenant = await store.directory.tenant(tenant_id)
    assert tenant is not None
    account = (await store.directory.account_ids(tenant.pk))[account_id]
    epoch = await store.fleet.register(uuid.uuid4().hex, "n", "sender")
    assert await store.queue.take_lease(account, 0, epoch=epoch, ttl=60)
    found = await store.queue.claim(account, 0, epoch=epoch, limit=at_most)
    await store.queue.release_leases(epoch)
    await store.queue.take_lease(account, 0, epoch=epoch, ttl=-1)
    return len(found.messages)


async def test_a_tenant_changes_its_own_settings_but_not_its_limits(api: Api) -> None:
    tenant = await api.as_tenant()
    assert (await tenant.put("/tenant/acme", json={"name": "New"})).json() == {"ok": True}
    assert (await tenant.get("/tenant/acme")).json()["name"] == "New"
    for refused in ({"rate_limits": {"hourly": 1}}, {"active": True}):
        assert (await tenant.put("/tenant/acme", json=refused)).status_code == 403


@pytest.mark.bad_input("B5")
async def test_unknown_fields_are_ignored_with_a_warning(api: Api) -> None:
    made = await api.admin.post("/tenant", json={"id": "acme", "nmae": "Acme"})
    assert made.status_code == 200
    assert made.json()["warnings"] == ["unknown field 'nmae' ignored; did you mean 'name'?"]
