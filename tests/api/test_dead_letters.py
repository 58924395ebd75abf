"""Dead letters over HTTP: listed, replayed and discarded by the tenant they are of, or by the admin."""

from typing import Any
from uuid import uuid4

from mailproxy.records import Tenant
from mailproxy.reports import CallSettled
from tests.api.conftest import Api, message

GONE = "HTTP status 410"


async def bury(api: Api, tenant_id: str, *client_ids: str) -> list[int]:
    """Dead letters of messages that failed at the door; their events."""
    added = {"messages": [message(one, tenant_id=tenant_id, to="") for one in client_ids]}
    await api.admin.post("/commands/add-messages", json=added)
    tenant = await stored(api, tenant_id)
    events = [report.event_id for report in await api.store.reports.pending(tenant.pk, 1000)]
    await fail(api, CallSettled(fails=1, called=False, failure="HTTP status 503"))
    await api.store.dead_letters.set_aside(0.0, limit=1000)
    return events


async def stored(api: Api, tenant_id: str) -> Tenant:
    tenant = await api.store.directory.tenant(tenant_id)
    assert tenant is not None
    return tenant


async def fail(api: Api, settled: CallSettled) -> None:
    """Every tenant's call comes to nothing."""
    epoch = await api.store.fleet.register(str(uuid4()), "n", "reporter")
    await api.store.reports.poke(None)
    for call in await api.store.reports.claim_tenants(epoch, limit=9, ttl=60, interval=300, fallback=False):
        await api.store.reports.settle_call(call.tenant_pk, epoch, settled)


async def listed(client: Any, **params: Any) -> list[int]:
    answer = await client.get("/dead-letters", params=params)
    assert answer.status_code == 200
    return [one["event_id"] for one in answer.json()["dead_letters"]]


async def test_a_letter_says_what_was_to_be_reported_and_why_it_was_not(api: Api) -> None:
    tenant = await api.client(await api.tenant(client_base_url="http://127.0.0.1:1"))
    (event,) = await bury(api, "acme", "m1")
    (letter,) = (await tenant.get("/dead-letters")).json()["dead_letters"]
    times = {letter.pop(name) for name in ("event_ts", "failing_since", "dead_ts")}
    assert all(isinstance(time, int) for time in times)
    assert letter.pop("event_data")["error"]
    assert letter == {
        "event_id": event,
        "event_type": "error",
        "tenant_id": "acme",
        "id": "m1",
        "account_id": "main",
        "cause": "HTTP status 503",
        "refusals": 0,
    }
    status = (await tenant.get("/status")).json()
    assert (status["reports_pending"], status["reports_dead"]) == (0, 1)
    assert (await api.admin.get("/stats")).json()["reports_dead"] == 1
    assert "gmp_reports_dead 1.0" in (await api.admin.get("/metrics")).text
    (sync,) = (await api.admin.get("/tenants/sync-status")).json()["tenants"]
    assert (sync["reports_dead"], sync["failure"]) == (1, "HTTP status 503")


async def test_a_tenant_sees_and_replays_its_own_and_the_admin_everybodys(api: Api) -> None:
    acme = await api.client(await api.tenant("acme", client_base_url="http://127.0.0.1:1"))
    other = await api.client(await api.tenant("other", client_base_url="http://127.0.0.1:1"))
    mine = await bury(api, "acme", "a", "b")
    (theirs,) = await bury(api, "other", "c")
    assert await listed(acme) == await listed(api.admin, tenant_id="acme") == mine
    assert await listed(other) == [theirs]
    assert await listed(api.admin) == [*mine, theirs]
    assert await listed(api.admin, tenant_id="nobody") == []
    answer = await acme.post("/dead-letters/replay", json={"event_ids": [theirs]})
    assert answer.json() == {"ok": True, "replayed": 0, "not_found": [theirs]}
    answer = await acme.post("/dead-letters/discard", json={"event_ids": [theirs]})
    assert answer.json() == {"ok": True, "discarded": 0, "not_found": [theirs]}
    answer = await api.admin.post("/dead-letters/replay", params={"tenant_id": "nobody"})
    assert answer.json()["replayed"] == 0
    assert (await acme.post("/dead-letters/replay")).json()["replayed"] == 2
    assert await listed(api.admin) == [theirs]
    assert (await api.admin.post("/dead-letters/replay", json={})).json()["replayed"] == 1
    assert await listed(api.admin) == []
    assert (await acme.get("/status")).json()["reports_pending"] == 2


async def test_letters_are_chosen_by_event_and_by_time_and_come_in_pages(api: Api) -> None:
    tenant = await api.client(await api.tenant(client_base_url="http://127.0.0.1:1"))
    events = await bury(api, "acme", "a", "b", "c")
    page = (await tenant.get("/dead-letters", params={"limit": 2})).json()
    assert [one["event_id"] for one in page["dead_letters"]] == events[:2]
    assert await listed(tenant, limit=2, cursor=page["next_cursor"]) == events[2:]
    assert (await tenant.get("/dead-letters", params={"cursor": "YWJj"})).status_code == 400
    at = page["dead_letters"][0]["event_ts"]
    assert await listed(tenant, until=at) == await listed(tenant, since=at + 60) == []
    assert await listed(tenant, since="2020-01-01T00:00:00Z", until="2999-01-01T00:00:00Z") == events
    answer = await tenant.post("/dead-letters/replay", json={"since": at + 60})
    assert answer.json()["replayed"] == 0
    answer = await tenant.post("/dead-letters/replay", json={"event_ids": [events[0], 10**9]})
    assert answer.json() == {"ok": True, "replayed": 1, "not_found": [10**9]}
    answer = await tenant.post("/dead-letters/replay", json={"since": at, "until": at + 60})
    assert answer.json()["replayed"] == 2


async def test_only_what_is_named_is_discarded(api: Api) -> None:
    tenant = await api.client(await api.tenant(client_base_url="http://127.0.0.1:1"))
    events = await bury(api, "acme", "a", "b")
    refused = await tenant.post("/dead-letters/discard", json={})
    assert (refused.status_code, refused.json()["code"]) == (400, "nothing_selected")
    for wrong in ({"event_ids": ["x"]}, {"event_ids": [0]}, {"since": "soon"}, {"event_ids": 7}):
        assert (await tenant.post("/dead-letters/discard", json=wrong)).status_code == 422
        assert (await tenant.post("/dead-letters/replay", json=wrong)).status_code == 422
    cleaned = {"older_than_seconds": 0}
    assert (await tenant.post("/commands/cleanup-messages", json=cleaned)).json()["removed"] == 0
    answer = await tenant.post("/dead-letters/discard", json={"event_ids": events[:1]})
    assert answer.json()["discarded"] == 1
    assert await listed(tenant) == events[1:]
    assert (await tenant.post("/dead-letters/discard", json={"since": 0})).json()["discarded"] == 1


async def test_a_switched_off_endpoint_is_shown_and_switched_on_by_pointing_elsewhere_or_by_word(
    api: Api,
) -> None:
    url = "http://127.0.0.1:1"
    tenant = await api.client(await api.tenant(client_base_url=url))
    off = CallSettled(fails=10, called=False, gone=10, failure=GONE, switch_off=f"{GONE} 10 times in a row")
    for client, change in (
        (api.admin, {"client_base_url": f"{url}/new"}),
        (tenant, {"client_sync_path": "/elsewhere"}),
        (tenant, {"client_auth": {"method": "bearer", "token": "t"}}),
        (tenant, {"switch_on": True}),
    ):
        await fail(api, off)
        shown = (await tenant.get("/tenant/acme")).json()
        assert shown["switched_off"] == "HTTP status 410 10 times in a row"
        assert isinstance(shown["switched_off_since"], int)
        assert (await api.admin.get("/stats")).json()["tenants_switched_off"] == 1
        await tenant.put("/tenant/acme", json={"name": "Acme", "report_strict": True})
        assert "switched_off" in (await tenant.get("/tenant/acme")).json()
        assert (await client.put("/tenant/acme", json=change)).status_code == 200
        assert "switched_off" not in (await tenant.get("/tenant/acme")).json(), change
    assert (await api.admin.get("/stats")).json()["tenants_switched_off"] == 0
