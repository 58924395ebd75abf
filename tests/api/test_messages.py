"""Messages as they are listed, looked at, cancelled and deleted over HTTP."""

import time

import pytest

from mailproxy.config import Database, Settings
from mailproxy.model import EventType, Status
from tests.api.conftest import Api, message
from tests.api.test_submission import add, finish, released
from tests.sql.conftest import run_sql


async def test_messages_are_listed_in_pages_without_gaps_or_repeats(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, *[message(f"m{n}") for n in range(7)])
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = (await tenant.get("/messages", params=params)).json()
        assert page["ok"] is True
        seen += [one["id"] for one in page["messages"]]
        await add(tenant, message("late"))
        cursor = page.get("next_cursor")
        if cursor is None:
            break
    assert sorted(seen) == [*sorted({"late"}), *[f"m{n}" for n in range(7)]]
    assert len(seen) == len(set(seen))


async def test_pages_may_begin_with_the_newest(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, *[message(f"m{n}") for n in range(5)])
    wanted = {"limit": "2", "newest_first": "true"}
    first = (await tenant.get("/messages", params=wanted)).json()
    second = (await tenant.get("/messages", params=wanted | {"cursor": first["next_cursor"]})).json()
    found = [one["id"] for page in (first, second) for one in page["messages"]]
    assert found == ["m4", "m3", "m2", "m1"]


async def test_messages_are_filtered(api: Api) -> None:
    tenant = await api.as_tenant()
    await api.account("acme", "second")
    await add(
        tenant,
        message("plain", subject="Invoice 7"),
        message("batched", batch_code="b1"),
        message("later", deferred_ts=4070908800),
        message("other", account_id="second"),
        message("wrong", to=""),
    )
    for params, expected in (
        ({"status": "pending"}, {"plain", "batched", "other"}),
        ({"status": "deferred"}, {"later"}),
        ({"status": "error"}, {"wrong"}),
        ({"active_only": "true"}, {"plain", "batched", "later", "other"}),
        ({"account_id": "second"}, {"other"}),
        ({"batch_code": "b1"}, {"batched"}),
        ({"q": "wron"}, {"wrong"}),
        ({"since": "2099-01-01T00:00:00Z"}, set()),
        ({"until": "4070908800"}, {"plain", "batched", "later", "other", "wrong"}),
    ):
        found = (await tenant.get("/messages", params=params)).json()["messages"]
        assert {one["id"] for one in found} == expected, params


async def test_the_payload_is_shown_unless_it_is_not_wanted(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("m1", body="Grüße"))
    (one,) = (await tenant.get("/messages")).json()["messages"]
    assert one["message"] == message("m1", body="Grüße", to=["b@example.org"], priority=2)
    (bare,) = (await tenant.get("/messages", params={"include_payload": "false"})).json()["messages"]
    assert "message" not in bare
    assert None not in bare.values()
    (long,) = (await tenant.get("/messages", params={"include_history": "true"})).json()["messages"]
    assert long["history"] == []


async def test_a_sent_message_shows_when_and_its_events(api: Api) -> None:
    tenant = await api.client(await api.tenant(client_base_url="http://127.0.0.1:9"))
    await add(tenant, message("m1"))
    await finish(api.store, "m1", Status.SENT, EventType.SENT)
    shown = (await tenant.get("/messages/m1")).json()
    assert (shown["ok"], shown["status"]) == (True, "sent")
    assert isinstance(shown["sent_ts"], int)
    assert "error_ts" not in shown
    (event,) = (await tenant.get("/messages/m1/events")).json()["events"]
    assert set(event) == {"event_id", "event_type", "event_ts", "event_data", "reported"}
    assert (event["event_type"], event["reported"]) == ("sent", False)


@pytest.mark.bad_input("B35")
async def test_a_waiting_message_can_be_cancelled_and_a_finished_one_not(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("m1"))
    assert (await tenant.post("/messages/m1/cancel")).json() == {"ok": True, "status": "cancelled"}
    assert (await tenant.get("/messages/m1")).json()["status"] == "cancelled"
    await add(tenant, message("m2"))
    await finish(api.store, "m2", Status.SENT, EventType.SENT)
    refused = await tenant.post("/messages/m2/cancel")
    assert refused.status_code == 409
    assert "sent" in refused.json()["detail"]


@pytest.mark.bad_input("B35")
async def test_a_message_in_doubt_is_resolved_and_no_other(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("m1"))
    refused = await tenant.post("/messages/m1/resolve", json={"as": "sent"})
    assert (refused.status_code, refused.json()["code"]) == (409, "not_in_doubt")
    assert "pending" in refused.json()["detail"]
    await finish(api.store, "m1", Status.UNKNOWN, EventType.UNKNOWN)
    for wrong in ({}, {"as": "lost"}, {"resolution": "sent"}):
        assert (await tenant.post("/messages/m1/resolve", json=wrong)).status_code == 422
    done = await tenant.post("/messages/m1/resolve", json={"as": "retry", "because": "so"})
    assert done.json() == {"ok": True, "warnings": ["unknown field 'because' ignored"]}
    assert (await tenant.get("/messages/m1")).json()["status"] == "pending"
    events = (await tenant.get("/messages/m1/events")).json()["events"]
    assert [event["event_type"] for event in events] == ["unknown", "retry_after_unknown"]
    assert events[1]["event_data"] == {"reason": "resolved"}


@pytest.mark.bad_input("B36")
async def test_missing_and_foreign_messages_answer_alike(api: Api) -> None:
    other = await api.as_tenant("other")
    await add(other, message("theirs"))
    tenant = await api.as_tenant()
    for method, path in (
        ("GET", "/messages/{}"),
        ("GET", "/messages/{}/events"),
        ("GET", "/messages/{}/explanation"),
        ("POST", "/messages/{}/cancel"),
        ("POST", "/messages/{}/resolve"),
    ):
        answers = []
        for identity in ("theirs", "nobodys"):
            body = {"as": "sent"} if path.endswith("resolve") else None
            answer = await tenant.request(method, path.format(identity), json=body)
            assert answer.status_code == 404
            answers.append({**answer.json(), "request_id": "", "detail": ""})
            assert answer.json()["detail"] == f"Message '{identity}' not found"
        assert answers[0] == answers[1]


async def test_an_encoded_slash_is_the_ids_and_no_other_is_where_it_could_be_the_paths(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("x"), message("x/events"), message("x/cancel"))
    assert (await tenant.get("/messages/x%2fevents")).json()["id"] == "x/events"
    assert (await tenant.get("/messages/x/events")).json() == {"ok": True, "events": []}
    assert (await tenant.get("/messages/x%2Fevents/events")).json() == {"ok": True, "events": []}
    assert (await tenant.get("/messages/x%2Fnone/events")).status_code == 404
    assert (await tenant.post("/messages/x%2Fcancel/cancel")).status_code == 200
    states = {id_: (await tenant.get(f"/messages/{id_}")).json()["status"] for id_ in ("x", "x%2Fcancel")}
    assert states == {"x": "pending", "x%2Fcancel": "cancelled"}


async def test_ids_with_slashes_can_be_looked_up(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("order/1 é?"))
    shown = await tenant.get("/messages/order%2F1%20%C3%A9%3F")
    assert shown.json()["id"] == "order/1 é?"
    assert (await tenant.get("/messages/order%2F1%20%C3%A9%3F/events")).json()["ok"] is True


@pytest.mark.bad_input("B36")
async def test_deleting_says_what_was_removed_and_what_not(api: Api) -> None:
    other = await api.as_tenant("other")
    await add(other, message("theirs"))
    tenant = await api.as_tenant()
    await add(tenant, message("m1"), message("m2"))
    answer = await tenant.post(
        "/commands/delete-messages", json={"ids": ["m1", "theirs", "nobodys", "", "m1"]}
    )
    assert answer.json() == {
        "ok": True,
        "removed": 1,
        "not_found": ["theirs", "nobodys"],
        "unauthorized": [],
    }
    assert [one["id"] for one in (await tenant.get("/messages")).json()["messages"]] == ["m2"]
    assert (await other.get("/messages/theirs")).status_code == 200
    nothing = await tenant.post("/commands/delete-messages", json={})
    assert nothing.json()["removed"] == 0


async def test_what_is_being_sent_is_not_deleted(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("m1"), message("m2"))
    await finish(api.store, "m1", Status.SENT, EventType.SENT)
    answer = await tenant.post("/commands/delete-messages", json={"ids": ["m1", "m2"]})
    assert answer.json() == {
        "ok": True,
        "removed": 1,
        "not_found": [],
        "unauthorized": [],
        "being_sent": ["m2"],
    }


async def test_cleaning_up_removes_what_is_finished_and_reported(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("m1"), message("m2"))
    await finish(api.store, "m1", Status.SENT, EventType.SENT)
    kept = await tenant.post("/commands/cleanup-messages", json={})
    assert kept.json() == {"ok": True, "removed": 0}
    done = await tenant.post("/commands/cleanup-messages", json={"older_than_seconds": -1})
    assert done.json() == {"ok": True, "removed": 1}
    assert [one["id"] for one in (await tenant.get("/messages")).json()["messages"]] == ["m2"]


async def test_what_was_reported_lately_is_kept_however_long_ago_it_ended(
    api: Api, settings: Settings
) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("m1"), message("m2"), message("bad", to=""))
    for identity, ago, reported in (("m1", 9000, 100), ("m2", 9000, 8000), ("bad", 100, None)):
        ended(settings.database, identity, ago, reported)
    done = await tenant.post("/commands/cleanup-messages", json={"older_than_seconds": 3600})
    assert done.json() == {"ok": True, "removed": 1}
    left = {one["id"]: one for one in (await tenant.get("/messages")).json()["messages"]}
    assert left.keys() == {"m1", "bad"}
    assert left["m1"]["reported_ts"] > left["m1"]["error_ts"]


def ended(database: Database, client_id: str, ago: float, reported: float | None) -> None:
    """Make a message one that was accepted and ended `ago` seconds ago, and was reported `reported` seconds ago."""
    run_sql(database, "DELETE FROM q WHERE id = (SELECT id FROM message WHERE client_id = ?)", client_id)
    at = "to_timestamp(?)" if database.kind == "postgres" else "?"
    run_sql(
        database,
        f"UPDATE message SET status = 2, created_at = {at}, done_at = {at}, reported_at = {at} WHERE client_id = ?",
        time.time() - ago,
        time.time() - ago,
        None if reported is None else time.time() - reported,
        client_id,
    )


async def test_the_history_speaks_the_words_of_the_reference(api: Api) -> None:
    tenant = await api.client(await api.tenant("acme", client_base_url="http://127.0.0.1:9", name="Acme"))
    await add(tenant, message("bad", to=""), message("worse", to=""))
    reporter = await api.store.fleet.register("o", "n", "reporter")
    [call] = await api.store.reports.claim_tenants(reporter, limit=9, ttl=60, interval=300, fallback=False)
    [first, _] = await api.store.reports.pending(call.tenant_pk, 9)
    await api.store.reports.acknowledge(call.tenant_pk, reporter, [first.event_id])
    listed = (await tenant.get("/messages", params={"include_history": "true"})).json()["messages"]
    told, untold = (one["history"][0] for one in listed)
    assert (told["event_type"], told["description"]) == ("error", "missing to")
    assert told["metadata"] == told["event_data"] == {"error": "missing to"}
    assert told["reported_ts"] == listed[0]["reported_ts"]
    assert "reported_ts" not in untold
    assert [one["tenant_name"] for one in listed] == ["Acme", "Acme"]


async def test_a_message_shows_its_priority_and_its_retries_as_the_reference_did(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("m1"), message("m2", priority="immediate"), default_priority="low")
    shown = [(await tenant.get(f"/messages/{one}")).json() for one in ("m1", "m2")]
    assert [(one["priority"], one["message"]["priority"]) for one in shown] == [(3, 3), (0, 0)]
    assert all("retry_count" not in one["message"] for one in shown)
    await released(api.store, delay=60.0)
    again = (await tenant.get("/messages/m1")).json()
    assert (again["status"], again["attempts"], again["message"]["retry_count"]) == ("deferred", 1, 1)


async def test_an_unknown_tenant_has_no_messages(api: Api) -> None:
    params = {"tenant_id": "none"}
    assert (await api.admin.get("/messages", params=params)).json() == {"ok": True, "messages": []}
    deleted = await api.admin.post("/commands/delete-messages", params=params, json={"ids": ["x"]})
    assert deleted.json()["not_found"] == ["x"]
    assert (await api.admin.post("/commands/cleanup-messages", params=params, json={})).json()["removed"] == 0


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.bad_input("B27")
async def test_wrong_pages_and_filters_are_refused(api: Api) -> None:
    tenant = await api.as_tenant()
    for params, status in (
        ({"limit": "0"}, 422),
        ({"limit": "5001"}, 422),
        ({"limit": "-1"}, 422),
        ({"limit": "many"}, 422),
        ({"cursor": "!"}, 400),
        ({"cursor": "bm90LWEtbnVtYmVy"}, 400),
        ({"cursor": "x" * 3000}, 400),
        ({"status": "lost"}, 422),
        ({"since": "yesterday"}, 422),
        ({"q": "a\0b"}, 400),
    ):
        assert (await tenant.get("/messages", params=params)).status_code == status, params
