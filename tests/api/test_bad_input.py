"""What is refused: every class of bad input gets its documented answer, and nothing a 500."""

import json
import re
from typing import Any

import httpx
import pytest

from mailproxy.api import strictjson
from mailproxy.api.refusals import Refusal
from tests.api.conftest import Api, message

ADD = "/commands/add-messages"
pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def _each_on_sqlite(dialect: str) -> None:
    """What is refused at the door never reaches a database."""


async def post(client: httpx.AsyncClient, path: str, body: Any) -> httpx.Response:
    """JSON in ASCII: half surrogates and null bodies go out as they are."""
    return await client.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})


MALFORMED = {
    b"": None,
    b" \n": None,
    b"{": 1,
    b'{"messages":[]} x': 16,
    b'{"a":1,"a":2}': None,
    b'{"a":NaN}': None,
    b'{"a":-Infinity}': None,
    b'{"a":1e400}': None,
    b'{"a":' + b"1" * 5000 + b"}": None,
    b"\xff\xfe": 0,
    b'{"a":"\xc3\x28"}': 6,
    b"\xef\xbb\xbf{}": None,
    b'{"a":"\n"}': 6,
    b"[" * 100_000: None,
    b'{"a":' * 40 + b"1" + b"}" * 40: None,
    '{"\u00e9" 1}'.encode(): 6,
}


async def test_a_body_that_is_not_strict_json_is_400_with_the_byte(api: Api) -> None:
    for body, position in MALFORMED.items():
        answer = await api.admin.post(ADD, content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json"), body[:40]
        if position is not None:
            assert answer.json()["detail"].endswith(f" at byte {position}"), (body, answer.text)


async def test_an_empty_body_is_called_empty(api: Api) -> None:
    answer = await api.admin.post(ADD, content=b"", headers={"Content-Type": "application/json"})
    assert answer.json()["detail"] == "The body is empty: send JSON"


async def test_no_answer_holds_half_a_surrogate_pair(api: Api) -> None:
    tenant = await api.as_tenant()
    for body in ({"messages": [message("a\ud800")]}, {"messages": [{"\ud800": 1}], "\udfff": 2}):
        answer = await post(tenant, ADD, body)
        assert not re.search("[\ud800-\udfff]", json.loads(answer.content) and str(answer.json())), (
            answer.text
        )


def test_nesting_up_to_the_limit_is_read() -> None:
    def nested(depth: int) -> bytes:
        return b"[" * depth + b"]" * depth

    strictjson.read(nested(strictjson.MAX_DEPTH))
    with pytest.raises(Refusal):
        strictjson.read(nested(strictjson.MAX_DEPTH + 1))
    assert strictjson.read(b'"text"') == "text"


async def test_a_body_of_another_type_is_415(api: Api) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml"):
        answer = await api.admin.post(ADD, content=b'{"messages":[]}', headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    for kind in ("application/json; charset=utf-8", "application/vnd.api+json", "APPLICATION/JSON"):
        answer = await api.admin.post(ADD, content=b'{"messages":[]}', headers={"Content-Type": kind})
        assert answer.status_code == 200
    packed = await api.admin.post(ADD, content=b"{}", headers={"Content-Encoding": "gzip"})
    assert (packed.status_code, packed.json()["code"]) == (415, "unsupported_encoding")


async def test_schema_faults_refuse_the_whole_call_without_echoing_it(api: Api) -> None:
    tenant = await api.as_tenant()
    for body, loc in (
        ([], ["body", "messages"]),
        ("x", ["body", "messages"]),
        (None, ["body", "messages"]),
        ({}, ["body", "messages"]),
        ({"messages": "s3cret"}, ["body", "messages"]),
        ({"messages": [1]}, ["body", "messages", 0]),
        ({"messages": [message(), message(subject=["s3cret"])]}, ["body", "messages", 1, "subject"]),
        ({"messages": [message(id=7)]}, ["body", "messages", 0, "id"]),
        ({"messages": [message(to={"a": "s3cret"})]}, ["body", "messages", 0, "to"]),
        ({"messages": [message(attachments="s3cret")]}, ["body", "messages", 0, "attachments"]),
        ({"messages": [message(headers=["s3cret"])]}, ["body", "messages", 0, "headers"]),
        ({"messages": [message(batch_code="x" * 65)]}, ["body", "messages", 0, "batch_code"]),
        ({"messages": [message(max_age=-1)]}, ["body", "messages", 0, "max_age"]),
        ({"messages": [message()], "default_priority": "urgent"}, ["body", "default_priority"]),
    ):
        answer = await post(tenant, ADD, body)
        assert answer.status_code == 422, body
        faults = answer.json()["detail"]
        assert [str(part) for part in faults[0]["loc"][: len(loc)]] == [str(part) for part in loc], faults
        assert all(set(fault) == {"type", "loc", "msg"} for fault in faults)
        assert "s3cret" not in answer.text
    assert (await tenant.get("/messages")).json()["messages"] == []


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"id": "x" * 129}, "invalid_id"),
    ({"id": "a\u0000b"}, "invalid_id"),
    ({"id": "a\ud800"}, "invalid_id"),
    ({"id": "a\nb"}, "invalid_id"),
    ({"priority": "urgent"}, "invalid_priority"),
    ({"priority": True}, "invalid_priority"),
    ({"priority": 1.5}, "invalid_priority"),
    ({"priority": [1]}, "invalid_priority"),
    ({"deferred_ts": "tomorrow"}, "invalid_time"),
    ({"deferred_ts": -1}, "invalid_time"),
    ({"deferred_ts": 1_700_000_000_000}, "invalid_time"),
    ({"deferred_ts": "2030-01-01T00:00:00"}, "invalid_time"),
    ({"deferred_ts": True}, "invalid_time"),
    ({"expires_at": {}}, "invalid_time"),
    ({"batch_code": "a,b"}, "invalid_batch_code"),
    ({"batch_code": "*"}, "invalid_batch_code"),
    ({"content_type": "text/calendar"}, "invalid_content_type"),
    ({"to": ["nobody"]}, "invalid_address"),
    ({"to": "a@b c, d@e"}, "invalid_address"),
    ({"to": ["a@example.com, b@example.com"]}, "invalid_address"),
    ({"to": ["a@example.com\r\nRCPT TO:<b@example.com>"]}, "invalid_address"),
    ({"to": ["(" * 20_000]}, "invalid_address"),
    ({"to": [f"a{n}@example.com" for n in range(1001)]}, "too_many_recipients"),
    ({"from": "<"}, "invalid_address"),
    ({"from": "a@example.com\u0000"}, "invalid_address"),
    ({"return_path": "nobody"}, "invalid_address"),
    ({"subject": "a\r\nBcc: x@example.com"}, "header_injection"),
    ({"subject": "=?utf-8?Q?hi=0ABcc:_x?="}, "header_injection"),
    ({"subject": "x" * 999}, "subject_too_long"),
    ({"subject": "\ud800"}, "invalid_text"),
    ({"headers": {"": "x"}}, "invalid_header_name"),
    ({"headers": {"X Y": "x"}}, "invalid_header_name"),
    ({"headers": {"X-\ud800": "x"}}, "invalid_header_name"),
    ({"headers": {"Bcc": "x@example.com"}}, "reserved_header"),
    ({"headers": {"content-type": "text/html"}}, "reserved_header"),
    ({"headers": {"X-A": "b\r\nX-C: d"}}, "header_injection"),
    ({"headers": {"X-A": {"b": 1}}}, "invalid_header_value"),
    ({"headers": {"X-\ud800\u0000": []}}, "invalid_header_value"),
    ({"headers": {f"X-{n}": "x" for n in range(500)}}, "headers_too_large"),
    ({"headers": {"X-A": "x" * 70_000}}, "headers_too_large"),
    ({"message_id": "no brackets"}, "invalid_message_id"),
    ({"message_id": "<"}, "invalid_message_id"),
    ({"body": "\u0000"}, "invalid_text"),
    ({"body": "\ud800"}, "invalid_text"),
    ({"body_html": "\udfff"}, "invalid_text"),
    ({"account_id": "no\u0000ne"}, "account_not_found"),
    ({"account_id": "\ud800"}, "account_not_found"),
]


async def test_messages_that_could_never_be_sent_are_refused_alone(api: Api) -> None:
    tenant = await api.as_tenant()
    for number, (fields, code) in enumerate(REFUSED):
        body = {"messages": [message(f"good{number}"), message(f"bad{number}") | fields]}
        answer = await post(tenant, ADD, body)
        assert answer.status_code == 200, (fields, answer.text)
        said = answer.json()
        assert [one["id"] for one in said["accepted"]] == [f"good{number}"]
        assert [one["code"] for one in said["rejected"]] == [code], (fields, said)
        assert said["rejected"][0]["reason"], fields
        unnamed = await post(api.admin, ADD, body)
        assert unnamed.status_code in (200, 400), (fields, unnamed.text)
    listed = (await tenant.get("/messages", params={"limit": "5000"})).json()["messages"]
    assert {one["status"] for one in listed} == {"pending", "error"}


async def test_text_no_database_takes_is_refused_everywhere_else(api: Api) -> None:
    for body in (
        {"id": "acme", "name": "a\u0000b"},
        {"id": "acme", "large_file_config": {"deep": [{"x": "\ud800"}]}},
        {"id": "acme", "large_file_config": {"\udfff": 1}},
    ):
        answer = await post(api.admin, "/tenant", body)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_text"), body
    emoji = await api.admin.post("/tenant", json={"id": "acme", "name": "\U0001f600"})
    assert emoji.status_code == 200


async def test_impossible_tenants_are_refused_field_by_field(api: Api) -> None:
    for field, wrong in (
        ("id", ""),
        ("id", "a/b"),
        ("id", None),
        ("client_base_url", "ftp://example.com"),
        ("client_base_url", "https://user:pw@example.com"),
        ("client_base_url", "https://example.com/#x"),
        ("client_base_url", "https://exa mple.com"),
        ("client_base_url", "https://[::1"),
        ("client_base_url", "https://example.com:99999"),
        ("client_base_url", "https://" + "x" * 10_000),
        ("client_sync_path", "/a b"),
        ("client_auth", {"method": "digest"}),
        ("client_auth", "token"),
        ("rate_limits", {"hourly": -1}),
        ("rate_limits", [1]),
        ("report_format", "xml"),
        ("active", "perhaps"),
        ("name", "x" * 513),
    ):
        answer = await api.admin.post("/tenant", json={"id": "acme", field: wrong})
        assert answer.status_code == 422, (field, wrong)
        assert answer.json()["detail"][0]["loc"][:2] == ["body", field]


async def test_command_bodies_of_the_wrong_shape_are_422(api: Api) -> None:
    tenant = await api.as_tenant()
    for path, body in (
        ("/commands/delete-messages", {"ids": "m1"}),
        ("/commands/delete-messages", {"ids": [1]}),
        ("/commands/delete-messages", []),
        ("/commands/cleanup-messages", {"older_than_seconds": "soon"}),
    ):
        assert (await tenant.post(path, json=body)).status_code == 422, (path, body)
