"""add-messages over HTTP: what is queued, what is not, and why."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from mailproxy import payload
from mailproxy.config import Settings
from mailproxy.model import Epoch, EventDetail, EventType, Priority, Status, message_of
from mailproxy.records import Claimed, Finish, Release
from mailproxy.store import Store
from tests.api.conftest import Api, api_on, heard, message

ADD = "/commands/add-messages"


async def add(client: httpx.AsyncClient, *messages: dict[str, Any], **call: Any) -> httpx.Response:
    return await client.post(ADD, json={"messages": list(messages), **call})


async def finish(store: Store, client_id: str, status: Status, event: EventType) -> None:
    """Claim and authorise everything that waits, and settle one message."""
    epoch, claimed = await claim_all(store)
    await store.queue.intend(epoch, [found.id for found in claimed])
    ends = [
        Finish(found.id, found.revision, found.attempt, found.claim, status, event, EventDetail())
        for found in claimed
        if found.client_id == client_id
    ]
    assert len((await store.queue.settle(epoch, ends)).settled) == 1


async def released(store: Store, *, delay: float) -> None:
    """Claim everything that waits, and put it off."""
    epoch, claimed = await claim_all(store)
    ends = [Release(one.id, one.revision, one.attempt, one.claim, delay=delay) for one in claimed]
    assert len((await store.queue.settle(epoch, (), ends)).settled) == len(claimed)


async def claim_all(store: Store) -> tuple[Epoch, Sequence[Claimed]]:
    tenant = await store.directory.tenant("acme")
    assert tenant is not None
    account = (await store.directory.account_ids(tenant.pk))["main"]
    epoch = await store.fleet.register("o", "n", "sender")
    await store.queue.take_lease(account, 0, epoch=epoch, ttl=60)
    return epoch, (await store.queue.claim(account, 0, epoch=epoch, limit=100)).messages


async def test_messages_are_queued_in_one_call(api: Api) -> None:
    tenant = await api.as_tenant()
    answer = await add(tenant, message("m1"), message("m2", to=["x@example.org", "y@example.org"]))
    assert answer.status_code == 200
    said = answer.json()
    assert (said["ok"], said["queued"], said["rejected"]) == (True, 2, [])
    assert [one["id"] for one in said["accepted"]] == ["m1", "m2"]
    shown = (await tenant.get("/messages/m1")).json()
    assert shown["pk"] == said["accepted"][0]["pk"]
    assert message_of(await api.store.fleet.instance(), shown["pk"]) is not None
    assert shown["status"] == "pending"
    assert shown["message"]["to"] == ["b@example.org"]
    assert "warnings" not in said


@pytest.mark.bad_input("B6")
async def test_an_empty_call_queues_nothing(api: Api) -> None:
    tenant = await api.as_tenant()
    answer = await add(tenant)
    assert (answer.status_code, answer.json()["queued"]) == (200, 0)


async def test_all_that_is_wrong_with_a_message_is_said_at_once(api: Api) -> None:
    tenant = await api.as_tenant()
    answer = await add(
        tenant, message("good"), message("bad", to="", subject="", account_id="none", cc="not an address")
    )
    assert answer.status_code == 200
    (rejected,) = answer.json()["rejected"]
    assert rejected["id"] == "bad"
    assert rejected["code"] == "missing_to"
    reasons = rejected["reason"].split("; ")
    assert reasons[:2] == ["missing to", "missing subject"]
    assert reasons[-1] == "account not found for tenant"
    assert any(reason.startswith("cc[0]:") for reason in reasons)
    assert [one["id"] for one in answer.json()["accepted"]] == ["good"]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_reasons_are_those_of_the_reference(api: Api) -> None:
    tenant = await api.as_tenant()
    for field, reason in (
        ("id", "missing id"),
        ("from", "missing from"),
        ("to", "missing to"),
        ("subject", "missing subject"),
        ("account_id", "missing account_id"),
    ):
        for emptied in ({field: ""}, {field: None}):
            answer = await add(tenant, message("m1") | emptied)
            assert answer.status_code == 400
            detail = answer.json()["detail"]
            assert set(detail) == {"error", "rejected"}
            assert detail["rejected"][0]["reason"] == reason
            assert detail["rejected"][0]["code"] == reason.replace(" ", "_")
    answer = await add(tenant, message("m1", account_id="none"))
    assert answer.json()["detail"]["rejected"] == [
        {"id": "m1", "reason": "account not found for tenant", "code": "account_not_found"}
    ]
    assert answer.json()["code"] == "all_rejected"


async def test_a_rejected_message_is_recorded_as_an_error_and_reported(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("bad", to=""))
    shown = (await tenant.get("/messages/bad")).json()
    assert (shown["status"], shown["error"]) == ("error", "missing to")
    events = (await tenant.get("/messages/bad/events")).json()["events"]
    assert [event["event_type"] for event in events] == ["error"]


async def test_a_rejection_never_touches_an_existing_message(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("m1", subject="first"))
    answer = await add(tenant, message("m1", subject="second", to=""))
    assert answer.status_code == 400
    shown = (await tenant.get("/messages/m1")).json()
    assert (shown["status"], shown["message"]["subject"]) == ("pending", "first")


@pytest.mark.bad_input("B8")
async def test_an_unsent_id_is_replaced_also_after_an_error(api: Api) -> None:
    tenant = await api.as_tenant()
    first = (await add(tenant, message("m1", subject="first"))).json()
    again = (await add(tenant, message("m1", subject="second", priority="high"))).json()
    assert again["accepted"] == first["accepted"]
    shown = (await tenant.get("/messages/m1")).json()
    assert (shown["message"]["subject"], shown["priority"]) == ("second", 1)
    await add(tenant, message("m2", to=""))
    assert (await add(tenant, message("m2"))).json()["queued"] == 1
    assert (await tenant.get("/messages/m2")).json()["status"] == "pending"


@pytest.mark.bad_input("B8")
async def test_a_sent_id_is_refused_and_alone_is_no_error(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("m1"), message("m2"))
    await finish(api.store, "m1", Status.SENT, EventType.SENT)
    alone = await add(tenant, message("m1"))
    assert alone.status_code == 200
    assert alone.json() == {
        "ok": True,
        "queued": 0,
        "rejected": [{"id": "m1", "reason": "already sent", "code": "already_sent"}],
        "accepted": [],
    }
    sending = await add(tenant, message("m2"))
    assert sending.status_code == 400
    assert sending.json()["detail"]["rejected"][0]["reason"] == "being sent"
    mixed = await add(tenant, message("m1"), message("m3"))
    assert (mixed.status_code, mixed.json()["queued"]) == (200, 1)
    invalid = await add(tenant, message("m1", to=""))
    assert invalid.status_code == 400
    assert (await tenant.get("/messages/m1")).json()["status"] == "sent"


@pytest.mark.bad_input("B6")
async def test_of_an_id_given_twice_the_last_one_counts(api: Api) -> None:
    tenant = await api.as_tenant()
    answer = await add(tenant, message("m1", subject="first"), message("m2"), message("m1", subject="last"))
    assert answer.json()["queued"] == 2
    assert (await tenant.get("/messages/m1")).json()["message"]["subject"] == "last"


@pytest.mark.bad_input("B6")
async def test_too_many_messages_are_refused_as_in_the_reference(api: Api) -> None:
    tenant = await api.as_tenant()
    answer = await add(tenant, *[message(f"m{n}") for n in range(1001)])
    assert answer.status_code == 400
    assert answer.json()["detail"]["error"] == "Cannot enqueue more than 1000 messages at once"
    assert (await tenant.get("/messages")).json()["messages"] == []


async def test_priorities_come_from_the_message_the_call_or_the_settings(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(
        tenant,
        message("own", priority="immediate"),
        message("text", priority="3"),
        message("clamped", priority=9),
        message("call"),
        default_priority="high",
    )
    await add(tenant, message("settings"))
    found = (await tenant.get("/messages", params={"include_payload": "false"})).json()["messages"]
    assert {one["id"]: one["priority"] for one in found} == {
        "own": 0,
        "text": 3,
        "clamped": 3,
        "call": 1,
        "settings": 2,
    }


async def test_fields_are_taken_as_the_reference_takes_them(api: Api) -> None:
    tenant = await api.as_tenant()
    sent = message(
        "m1",
        to='"Doe, John" <john@example.org>, b@example.org',
        cc=["c@example.org"],
        headers={"X-Number": 5, "X-Null": None, "X-True": True},
        reply_to="r@example.com",
        deferred_ts="2099-01-01T00:00:00Z",
        batch_code="spring:1",
        content_type="html",
        body="<p>Hi</p>",
        nonsense=1,
    )
    sent["from_addr"] = sent.pop("from")
    answer = await add(tenant, sent, unknown=True)
    assert answer.json()["queued"] == 1, answer.text
    assert answer.json()["warnings"] == [
        "unknown field 'unknown' ignored",
        "messages: unknown field 'nonsense' ignored",
    ]
    shown = (await tenant.get("/messages/m1")).json()
    assert (shown["status"], shown["deferred_ts"]) == ("deferred", 4070908800)
    assert shown["batch_code"] == "spring:1"
    content = payload.decode(json.dumps(shown["message"]))
    assert content.to == ('"Doe, John" <john@example.org>', "b@example.org")
    assert content.sender == "a@example.com"
    assert content.headers == (("X-Number", "5"), ("X-True", "True"))
    assert (content.body_html, content.body_text) == ("<p>Hi</p>", None)


async def test_base64_attachments_are_kept_clean(api: Api) -> None:
    tenant = await api.as_tenant()
    wrapped = base64.b64encode(b"data" * 50).decode()
    wrapped = "base64:" + wrapped[:76] + "\r\n" + wrapped[76:].rstrip("=")
    parts = [
        {"filename": "a.bin", "storage_path": wrapped},
        {"filename": "b.txt", "storage_path": "aGk=", "fetch_mode": "base64", "inline": True, "auth": None},
    ]
    assert (await add(tenant, message("m1", attachments=parts))).json()["queued"] == 1
    stored = (await tenant.get("/messages/m1")).json()["message"]
    content = payload.decode(json.dumps(stored))
    assert [part.content for part in content.attachments] == [b"data" * 50, b"hi"]
    assert content.attachments[1].inline
    assert stored["attachments"][0]["fetch_mode"] == "base64"


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_attachments_that_cannot_be_sent_reject_their_message(api: Api) -> None:
    tenant = await api.as_tenant()
    for part, code in (
        ({"filename": "a", "storage_path": "base64:a"}, "invalid_base64"),
        ({"filename": "a", "storage_path": "base64:ab-_"}, "invalid_base64"),
        (
            {"filename": "a", "storage_path": "aGk=", "fetch_mode": "base64", "content_md5": "0" * 32},
            "attachment_mismatch",
        ),
        ({"filename": "a", "storage_path": "/etc/passwd"}, "path_not_allowed"),
        ({"filename": "a", "storage_path": "x", "fetch_mode": "filesystem"}, "path_not_allowed"),
        ({"filename": "a", "storage_path": "http://169.254.169.254/latest"}, "url_not_allowed"),
        ({"filename": "a", "storage_path": "http://2130706433/"}, "url_not_allowed"),
        ({"filename": "a", "storage_path": "http://a:b@example.com/"}, "url_not_allowed"),
        (
            {"filename": "a", "storage_path": "file:///etc/passwd", "fetch_mode": "http_url"},
            "url_not_allowed",
        ),
        ({"filename": "a", "storage_path": "doc\n1"}, "invalid_storage_path"),
        ({"filename": "a", "storage_path": "doc", "auth": {"method": "digest"}}, "invalid_auth"),
        (
            {"filename": "a", "storage_path": "doc", "auth": {"method": "bearer", "token": "a\r\nb"}},
            "invalid_auth",
        ),
        ({"filename": "a"}, "attachment_incomplete"),
        ({"filename": "../a", "storage_path": "base64:aGk="}, "invalid_filename"),
    ):
        answer = await add(tenant, message("m1", attachments=[part]))
        assert answer.json()["detail"]["rejected"][0]["code"] == code, part
    answer = await add(tenant, message("m1", attachments=[{"filename": "a", "storage_path": "x", "more": 1}]))
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "messages", 0, "attachments", 0, "more"]


async def test_the_tenant_is_named_implied_or_found_by_the_account(api: Api) -> None:
    await api.tenant("one")
    await api.tenant("two", account="only-two")
    await api.account("two", "main")
    named = await add(api.admin, message("m1", tenant_id="one"))
    assert named.json()["queued"] == 1
    found = await add(api.admin, message("m2", account_id="only-two"))
    assert found.json()["queued"] == 1
    assert (await api.admin.get("/messages/m2", params={"tenant_id": "two"})).status_code == 200
    ambiguous = await add(api.admin, message("m3"))
    assert ambiguous.json()["detail"]["rejected"][0]["reason"] == "missing tenant_id"
    unknown = await add(api.admin, message("m3", tenant_id="none"))
    assert unknown.json()["detail"]["rejected"][0]["reason"] == "account not found for tenant"
    both = await add(api.admin, message("m4", tenant_id="one"), message("m4", tenant_id="two"))
    assert both.json()["queued"] == 2


async def test_a_tenant_cannot_name_another_tenant(api: Api) -> None:
    await api.tenant("other")
    tenant = await api.as_tenant()
    answer = await add(tenant, message("m1"), message("m2", tenant_id="other"))
    assert answer.status_code == 401
    assert answer.json()["detail"] == "Token not authorized for this tenant"
    assert (await tenant.get("/messages")).json()["messages"] == []


async def test_age_limits_reach_the_queue(api: Api) -> None:
    tenant = await api.as_tenant()
    answer = await add(tenant, message("old", expires_at=1), message("new", max_age=3600))
    assert answer.json()["queued"] == 2
    assert await api.store.directory.expire(limit=10) == 1
    assert (await tenant.get("/messages/old")).json()["status"] == "expired"
    assert (await tenant.get("/messages/new")).json()["status"] == "pending"


async def test_the_settings_decide_the_default_priority_and_batch_size(
    settings: Settings, store: Store
) -> None:
    changed = settings.model_copy(update={"default_priority": Priority.LOW, "max_batch": 2})
    async with api_on(changed, store) as api:
        tenant = await api.as_tenant()
        assert (await add(tenant, message("m1"))).json()["queued"] == 1
        assert (await tenant.get("/messages/m1")).json()["priority"] == 3
        refused = await add(tenant, *[message(f"m{n}") for n in range(3)])
        assert refused.json()["detail"]["error"] == "Cannot enqueue more than 2 messages at once"


async def test_senders_are_woken_by_arrivals(api: Api) -> None:
    tenant = await api.as_tenant()
    await heard(api.store, {"queue"}, lambda: add(tenant, message("m1")))
