"""Calling a tenant over real HTTP: what is said, and every way an endpoint may fail to answer."""

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailproxy.authorization import ClientAuth
from mailproxy.model import (
    EventDetail,
    EventType,
    MessageId,
    Priority,
    RefusedRecipient,
    TenantPk,
    message_of,
)
from mailproxy.reports import Report, TenantCall
from tests.support.tenant import Endpoint, Manners
from workers.reporter.callback import MOST_READ, Caller, item

INSTANCE = 0x123456789ABCDEF
AT = 1_800_000_000.75
ALWAYS = [
    *("id", "tenant_id", "pk", "account_id", "priority", "sent_ts", "error_ts", "error", "deferred_ts"),
    *("event_id", "event_type", "event_ts"),
]
TENANT = TenantCall(TenantPk(1), "acme", None, ClientAuth(), 0, False, "item")


def report(kind: EventType = EventType.SENT, **fields: Any) -> Report:
    plain = Report(7, kind, AT, MessageId(42), "m-1", "smtp", Priority.HIGH, None, EventDetail(attempt=1))
    return replace(plain, **fields)


@pytest.fixture
async def endpoint(tmp_path: Path) -> AsyncIterator[Endpoint]:
    async with Endpoint(tmp_path / "calls") as endpoint:
        yield endpoint


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    caller = Caller(INSTANCE, total=0.5)
    yield caller
    await caller.aclose()


def of(endpoint: Endpoint, **fields: Any) -> TenantCall:
    return replace(TENANT, **{"url": f"{endpoint.url}/mail-proxy/sync", **fields})


async def test_an_event_arrives_with_every_key_of_the_contract(endpoint: Endpoint, caller: Caller):
    answer = await caller.call(of(endpoint), [report()])
    assert (answer.status, json.loads(answer.body)) == (200, {"ok": True})
    (call,) = endpoint.calls()
    assert call.path == "/mail-proxy/sync"
    assert call.headers["accept-encoding"] == "identity"
    assert "authorization" not in call.headers
    (told,) = call.items
    assert list(told) == ALWAYS
    assert message_of(INSTANCE, told["pk"]) == 42
    assert {key: told[key] for key in ALWAYS if key != "pk"} == {
        "id": "m-1",
        "tenant_id": "acme",
        "account_id": "smtp",
        "priority": 1,
        "sent_ts": 1_800_000_000,
        "error_ts": None,
        "error": None,
        "deferred_ts": None,
        "event_id": 7,
        "event_type": "sent",
        "event_ts": 1_800_000_000,
    }


async def test_an_idle_call_carries_an_empty_list(endpoint: Endpoint, caller: Caller):
    await caller.call(of(endpoint), [])
    assert endpoint.calls()[0].items == ()


@pytest.mark.parametrize(
    ("kind", "detail", "told"),
    [
        (
            EventType.ERROR,
            EventDetail(error="no (SMTP 550)"),
            {"error_ts": int(AT), "error": "no (SMTP 550)"},
        ),
        (EventType.EXPIRED, EventDetail(), {"error_ts": int(AT), "error": "expired"}),
        (EventType.CANCELLED, EventDetail(), {"error_ts": int(AT), "error": "cancelled"}),
        (
            EventType.DEFERRED,
            EventDetail(reason="rate_limit", error="later", deferred_until=AT + 60),
            {"deferred_ts": int(AT), "deferred_reason": "rate_limit"},
        ),
        (
            EventType.RETRY_AFTER_UNKNOWN,
            EventDetail(),
            {"deferred_ts": int(AT), "deferred_reason": "retry_after_unknown"},
        ),
        (EventType.UNKNOWN, EventDetail(error="no reply"), {}),
    ],
)
def test_each_event_fills_its_own_keys(kind: EventType, detail: EventDetail, told: dict[str, Any]):
    common = {"id", "tenant_id", "pk", "account_id", "priority", "event_id", "event_type", "event_ts"}
    full = item(TENANT, report(kind, detail=detail), INSTANCE)
    assert set(ALWAYS) <= set(full)
    assert {k: v for k, v in full.items() if k not in common and v is not None} == told
    lean = item(replace(TENANT, report_format="event"), report(kind, detail=detail), INSTANCE)
    assert lean == {k: v for k, v in full.items() if v is not None}


def test_refused_recipients_and_batch_are_told_when_there_are_any():
    refused = RefusedRecipient("b@example.com", 550, "5.1.1", "no such user")
    told = item(TENANT, report(batch_code="june", detail=EventDetail(refused=(refused,))), INSTANCE)
    assert told["batch_code"] == "june"
    assert told["refused_recipients"] == [
        {"address": "b@example.com", "code": 550, "enhanced": "5.1.1", "text": "no such user"}
    ]


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        (ClientAuth("bearer", token="t0ken"), "Bearer t0ken"),
        (
            ClientAuth("basic", user="u", password="p:ß"),
            "Basic " + base64.b64encode("u:p:ß".encode()).decode(),
        ),
    ],
)
async def test_the_tenants_credentials_are_sent(
    endpoint: Endpoint, caller: Caller, auth: ClientAuth, header: str
):
    await caller.call(of(endpoint, auth=auth), [])
    assert endpoint.calls()[0].headers["authorization"] == header


async def test_a_tenant_without_a_url_is_called_at_the_global_one(endpoint: Endpoint):
    fallback = Caller(
        INSTANCE, fallback_url=f"{endpoint.url}/all", fallback_auth=ClientAuth("bearer", token="shared")
    )
    await fallback.call(of(endpoint, url=None, auth=ClientAuth("bearer", token="own")), [report()])
    await fallback.aclose()
    (call,) = endpoint.calls()
    assert (call.path, call.headers["authorization"]) == ("/all", "Bearer shared")


async def test_cookies_of_an_answer_are_not_sent_to_anybody(endpoint: Endpoint, caller: Caller):
    endpoint.behave(Manners(headers={"Set-Cookie": "who=acme; Path=/"}))
    await caller.call(of(endpoint), [])
    await caller.call(of(endpoint, tenant_id="other"), [])
    assert ["cookie" in call.headers for call in endpoint.calls()] == [False, False]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(tmp_path: Path, endpoint: Endpoint, caller: Caller, status: int):
    async with Endpoint(tmp_path / "elsewhere") as elsewhere:
        endpoint.behave(Manners(status=status, headers={"Location": elsewhere.url}))
        answer = await caller.call(of(endpoint, auth=ClientAuth("bearer", token="t")), [report()])
        assert answer.status == status
        assert elsewhere.calls() == []


@pytest.mark.parametrize(
    "manners",
    [Manners(hang=True), Manners(delay=5), Manners(drip=0.05, body="x" * 100)],
    ids=["hangs", "is slow", "drips"],
)
async def test_an_endpoint_that_takes_too_long_is_cut_off(
    endpoint: Endpoint, caller: Caller, manners: Manners
):
    endpoint.behave(manners)
    answer = await caller.call(of(endpoint), [report()])
    assert answer.status is None
    assert answer.failure == "no complete answer within 0.5 s"


@pytest.mark.parametrize("manners", [Manners(reset=True), Manners(cut=True)], ids=["reset", "cut"])
async def test_a_broken_answer_is_no_answer(endpoint: Endpoint, caller: Caller, manners: Manners):
    endpoint.behave(manners, Manners())
    answer = await caller.call(of(endpoint), [report()])
    assert answer.status is None
    assert answer.failure
    assert (await caller.call(of(endpoint), [report()])).status == 200


async def test_of_a_huge_answer_only_the_first_part_is_read(endpoint: Endpoint, caller: Caller):
    endpoint.behave(Manners(body=b"x" * (5 << 20)))
    answer = await caller.call(of(endpoint), [report()])
    assert answer.truncated
    assert len(answer.body) == MOST_READ


async def test_a_compressed_answer_is_left_as_it_is(endpoint: Endpoint, caller: Caller):
    endpoint.behave(Manners(body=b"\x1f\x8bnot really", headers={"Content-Encoding": "gzip"}))
    assert (await caller.call(of(endpoint), [])).body == b"\x1f\x8bnot really"


async def test_the_wait_an_endpoint_asks_for_is_passed_on(endpoint: Endpoint, caller: Caller):
    endpoint.behave(Manners(status=503, headers={"Retry-After": "7"}))
    assert (await caller.call(of(endpoint), [])).headers["retry-after"] == "7"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/mail-proxy/sync",
        "ftp://127.0.0.1/",
        "http://",
        "http:///path",
        "http://[::1",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:port/",
        "http://" + "a" * 300 + ".invalid/",
        "http://a..b/",
        "http://\u2024\u2024/",
        "http://xn--zzzzzz99999/",
        "http://host\r\nX-Evil: 1/",
        "http://host\x00name/",
        "javascript:alert(1)",
        "https://127.0.0.1:1/",
    ],
)
async def test_an_impossible_address_is_an_answer_and_no_error(caller: Caller, url: str):
    answer = await caller.call(replace(TENANT, url=url), [report()])
    assert answer.status is None
    assert answer.failure


async def test_plain_http_where_tls_is_wanted_is_an_answer_and_no_error(endpoint: Endpoint, caller: Caller):
    answer = await caller.call(replace(TENANT, url=f"https://127.0.0.1:{endpoint.port}/"), [report()])
    assert answer.status is None


@pytest.mark.parametrize("token", ["line\r\nX-Evil: 1", "gehe\u00efm", "nul\x00", "\ud800"])
async def test_a_token_no_header_can_hold_is_an_answer_that_keeps_the_secret(
    endpoint: Endpoint, caller: Caller, token: str
):
    answer = await caller.call(of(endpoint, auth=ClientAuth("bearer", token=token)), [report()])
    assert answer.status is None or "x-evil" not in endpoint.calls()[0].headers
    assert token[:4] not in (answer.failure or "")
