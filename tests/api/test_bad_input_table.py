"""Bad input by its number in the table of RELIABILITY §4: what each gets, which field it names, and that it helps."""

import ast
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from mailproxy.config import Settings
from mailproxy.store import Store
from tests.api.conftest import Api, api_on, message

ADD = "/commands/add-messages"
TESTS = Path(__file__).parents[1]

sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that is refused: with which code, and a reason that names `names`."""

    number: str
    fields: dict[str, Any]
    code: str
    names: str


def each(number: str, name: str, values: list[Any], code: str, names: str | None = None) -> list[Refused]:
    return [Refused(number, {name: value}, code, names or name) for value in values]


BAD_ADDRESSES = [
    *(
        "nobody",
        "a@",
        "@b",
        "a b@c.example",
        "a@b@c",
        "<a@b.example>x",
        "a@b.example.",
        "a@-b.c",
        "a@b_c.example",
    ),
    *(
        "a@b..example",
        ".a@b.example",
        "a.@b.example",
        "a..b@c.example",
        "a@[1.2.3]",
        "a@[IPv6:zz]",
        "a@xn--.example",
    ),
    *("x" * 65 + "@b.example", "x" * 64 + "@" + ".".join(["b" * 60] * 4), "a@" + "b" * 64 + ".example"),
    *("(" * 20_000, "N\r\nX: y <a@b.example>", "a@b.example, c@d.example", '"' * 999, "<" * 999, "\\" * 999),
]
SMUGGLED = [
    *(
        "a@b.example> SIZE=1",
        "a@b.example>\r\nRCPT TO:<x@y.example",
        "a@b.example\r\n",
        "a@b.example\n",
        "a@b.example\u0000",
    ),
    *("a\r@b.example", "<a@b.example> BODY=8BITMIME", "\u0000a@b.example", "a@b.example\u2028RCPT TO:<x@y>"),
]
HEADER_NAMES = ["X:Y", "X Y", "X\r\nBcc", "X-\u00e9", "", "X" * 77, "X\u0000", "X\tY", "X-\u007f"]
RESERVED = [
    *(
        "From",
        "to",
        "CC",
        "Bcc",
        "Sender",
        "Date",
        "Message-ID",
        "MIME-Version",
        "Content-Type",
        "content-foo",
    ),
    *("Received", "Return-Path", "DKIM-Signature", "X-Genro-Mail-ID", "X-Genro-Mail-Proof"),
]
ENCODED = [
    *(
        "=?utf-8?Q?hi=0ABcc:_x?=",
        "=?utf-8?q?hi=0D=0ABcc:_x?=",
        "=?utf-8?B?aGkKQmNjOiB4?=",
        "=?utf-8?Q?a=00b?=",
    ),
    *("=?utf-8*en?Q?a=0Ab?=", "=?us-ascii?Q?a?= =?utf-8?Q?=0A?="),
]

MESSAGES = [
    *each("B4", "subject", ["\ud800"], "invalid_text"),
    *each("B7", "id", ["x" * 129, "a\nb", "a\u0000", "a\u200bb", "\ud800", "a\u202eb"], "invalid_id"),
    *each("B7", "id", ["", None], "missing_id"),
    *each("B9", "account_id", ["none", "theirs", "\u0000", "x" * 1000], "account_not_found", "account"),
    *each("B11", "priority", ["urgent", True, 1.5, [1], {}, "1.5", "9" * 20], "invalid_priority"),
    *each("B11", "deferred_ts", ["tomorrow", -1, True, {}, "2030-01-01T00:00:00", 1e300], "invalid_time"),
    *each("B11", "expires_at", [1_900_000_000_000], "invalid_time", "are these milliseconds"),
    *each("B12", "to", [[], None, ""], "missing_to"),
    *each("B12", "to", [[f"a{n}@example.com" for n in range(1001)]], "too_many_recipients"),
    *(Refused("B13", {"to": ["ok@example.com", one]}, "invalid_address", "to[1]") for one in BAD_ADDRESSES),
    *each("B13", "cc", [["ok@example.com", "nobody"]], "invalid_address", "cc[1]"),
    *each("B13", "from", ["nobody", "<", "a@b.example, c@d.example"], "invalid_address"),
    *each("B13", "reply_to", ["nobody"], "invalid_address"),
    *(Refused("B15", {"to": [one]}, "invalid_address", "to[0]") for one in SMUGGLED),
    *each("B16", "subject", ["a\r\nBcc: x@example.com", "a\nb", "a\rb", *ENCODED], "header_injection"),
    *each("B17", "subject", ["x" * 999, "\u00e9" * 200_000, "x" * 1_000_000], "subject_too_long"),
    *(Refused("B18", {"headers": {name: "x"}}, "invalid_header_name", "headers") for name in HEADER_NAMES),
    *(Refused("B19", {"headers": {name: "x"}}, "reserved_header", name) for name in RESERVED),
    *each("B20", "headers", [{f"X-{n}": "x" for n in range(500)}, {"X": "y" * 70_000}], "headers_too_large"),
    *each(
        "B21",
        "message_id",
        ["no", "<a b@c>", "<a@b", f"<{'a' * 250}@b>", "<a@b>\r\nX: y", "<>", ""],
        "invalid_message_id",
    ),
    *each("B22", "return_path", ["nobody", "a@b.example> SIZE=1", "<a@b.example"], "invalid_address"),
    *each("B23", "content_type", ["text/calendar", "text/plain; charset=x"], "invalid_content_type"),
    *each("B25", "body", ["\u0000\u0000", "\ud800", "a\u0008b"], "invalid_text", "body"),
    *each("B26", "batch_code", ["a,b", "*", "%", "a b", "\u00e9", "", "a/b"], "invalid_batch_code"),
]


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is refused: `who` is admin or tenant; `names` must be told."""

    number: str
    method: str
    path: str
    status: int
    code: str
    names: str = ""
    who: str = "tenant"
    body: Any = None
    raw: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)


def add(number: str, status: int, code: str, names: str = "", **how: Any) -> Call:
    return Call(number, "POST", ADD, status, code, names, **how)


def account(number: str, field: str, value: Any, who: str = "admin", **more: Any) -> Call:
    body = {"tenant_id": "acme", "id": "new", "host": "smtp.example.com", "port": 25, field: value}
    return Call(number, "POST", "/account", 422, "validation_error", field, who, body, **more)


def tenant(number: str, field: str, value: Any) -> Call:
    return Call(number, "PUT", "/tenant/acme", 422, "validation_error", field, "admin", {field: value})


def host(number: str, value: str) -> Call:
    body = {"id": "new", "host": value, "port": 25}
    return Call(number, "POST", "/account", 400, "host_not_allowed", "GMP_EGRESS_ALLOW", body=body)


def url(number: str, value: str) -> Call:
    body = {"client_base_url": value}
    return Call(number, "PUT", "/tenant/acme", 400, "url_not_allowed", "GMP_EGRESS_ALLOW", body=body)


def listed(number: str, status: int, code: str, names: str, /, **query: Any) -> Call:
    return Call(number, "GET", "/messages", status, code, names, query=query)


_JSON = {"Content-Type": "application/json"}
NOT_JSON = [
    b"",
    b"{",
    b'{"messages":[]} x',
    b'{"a":1,"a":2}',
    b'{"a":NaN}',
    b'{"a":1e400}',
    b"[" * 1000,
    b"\xff",
]
NO_HOSTS = [
    "http://smtp.example.com",
    "smtp.example.com/x",
    "a b",
    "a\r\nb",
    "-a.example",
    "smtp.example.com:25",
    "",
]
NO_URLS = [
    *(
        "ftp://example.com",
        "file:///etc/passwd",
        "gopher://example.com",
        "https://user:pw@example.com",
        "//example.com",
    ),
    *(
        "https://example.com/#x",
        "https://exa mple.com",
        "https://[::1",
        "https://example.com:99999",
        "https://:80",
    ),
    *("https://example.com\\@evil.example", "javascript:alert(1)", "https://" + "x" * 10_000),
]
INSIDE = [
    *(
        "http://127.0.0.1",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://[::ffff:127.0.0.1]",
        "http://localhost:8000",
    ),
    *(
        "http://169.254.169.254/latest/meta-data",
        "https://example.com:22",
        "http://[fe80::1]",
        "http://0.0.0.0",
    ),
]
CALLS = [
    *(add("B1", 400, "invalid_json", "body", raw=raw, headers=_JSON) for raw in NOT_JSON),
    add("B2", 415, "unsupported_encoding", raw=b"\x1f\x8b", headers={**_JSON, "Content-Encoding": "gzip"}),
    add(
        "B3",
        415,
        "unsupported_media_type",
        "application/json",
        raw=b"{}",
        headers={"Content-Type": "text/plain"},
    ),
    Call("B4", "POST", "/tenant", 400, "invalid_text", "name", "admin", {"id": "acme", "name": "a\u0000b"}),
    Call("B4", "PATCH", "/account/main", 400, "invalid_text", "user", body={"user": "\ud800"}),
    add(
        "B5",
        422,
        "validation_error",
        "colour",
        body={"messages": [message() | {"attachments": [{"colour": 1}]}]},
    ),
    add("B6", 400, "batch_too_large", "1000", body={"messages": [message(f"m{n}") for n in range(1001)]}),
    add("B6", 422, "validation_error", "messages", body={"messages": {}}),
    add("B7", 422, "validation_error", "id", body={"messages": [message() | {"id": 7}]}),
    Call("B9", "GET", "/account/theirs", 404, "account_not_found", "theirs"),
    Call("B9", "GET", "/account/none", 404, "account_not_found", "none"),
    Call(
        "B9",
        "POST",
        "/account",
        404,
        "tenant_not_found",
        "none",
        "admin",
        {"tenant_id": "none", "id": "x", "host": "h", "port": 1},
    ),
    add("B23", 422, "validation_error", "body_text", body={"messages": [message() | {"body_text": 7}]}),
    *(listed("B27", 422, "validation_error", "limit", limit=limit) for limit in (-1, 0, 10**9, "x")),
    listed("B27", 400, "invalid_cursor", "cursor", cursor="garbage"),
    listed("B27", 422, "validation_error", "status", status="lost"),
    listed("B27", 422, "validation_error", "since", since="yesterday"),
    *(account("B28", "host", value) for value in NO_HOSTS),
    *(account("B28", "port", value) for value in (0, 65536, -1, "smtp", 25.5)),
    *(account("B28", "id", value) for value in ("", "a/b", "x" * 65, "a b")),
    *(account("B28", "on_unknown_outcome", value) for value in ("perhaps", 1)),
    *(
        host("B28", value)
        for value in ("localhost", "127.0.0.1", "10.0.0.1", "169.254.169.254", "0x7f.1", "::1")
    ),
    account("B29", "password", "x" * 1_000_000),
    *(account("B30", "limit_per_minute", value) for value in (-1, "10/m", 1.5, 10**12)),
    tenant("B30", "rate_limits", {"hourly": "10/h"}),
    tenant("B30", "rate_limits", {"daily": -1}),
    *(tenant("B31", "client_base_url", value) for value in NO_URLS),
    *(url("B31", value) for value in INSIDE),
    Call("B32", "GET", "/tenants", 403, "admin_required"),
    Call("B32", "GET", "/accounts", 401, "invalid_token", headers={"X-API-Token": "x" * 10_000}),
    Call("B33", "GET", "/nowhere", 404, "not_found"),
    Call("B33", "GET", "//accounts", 404, "not_found"),
    Call("B33", "GET", "/..%2faccounts", 404, "not_found"),
    Call("B33", "PUT", "/accounts", 405, "method_not_allowed"),
    Call("B33", "DELETE", "/status", 405, "method_not_allowed"),
    Call("B33", "GET", "/accounts", 414, "url_too_long", query={"x": "y" * 9000}),
    Call("B35", "POST", "/messages/done/cancel", 409, "not_cancellable", "error"),
    Call("B35", "POST", "/messages/done/resolve", 409, "not_in_doubt", "error", body={"as": "sent"}),
    Call("B36", "GET", "/messages/private", 404, "message_not_found", "private"),
    Call("B36", "POST", "/messages/private/cancel", 404, "message_not_found", "private"),
]


async def clients(api: Api) -> dict[str, httpx.AsyncClient]:
    """A tenant with a message that was refused, and another tenant with an account and a message of its own."""
    acme = await api.as_tenant()
    other = await api.client(await api.tenant("other", "theirs"))
    added = await other.post(ADD, json={"messages": [message("private", account_id="theirs")]})
    assert added.json()["queued"] == 1
    await acme.post(ADD, json={"messages": [message("done", to="nobody")]})
    return {"admin": api.admin, "tenant": acme, "other": other}


def content(value: Any) -> dict[str, Any]:
    """JSON in ASCII, so that half surrogates go out as they are."""
    return {"content": json.dumps(value), "headers": _JSON}


@sqlite
async def test_messages_that_could_never_be_sent_name_their_field(api: Api) -> None:
    acme = (await clients(api))["tenant"]
    for number, case in enumerate(MESSAGES):
        started = time.perf_counter()
        answer = await acme.post(ADD, **content({"messages": [message(f"m{number}") | case.fields]}))
        assert answer.status_code == 400, (case.number, str(case.fields)[:80], answer.text[:300])
        said = answer.json()
        assert (said["code"], said["request_id"]) == ("all_rejected", answer.headers["x-request-id"])
        (rejected,) = said["detail"]["rejected"]
        assert rejected["code"] == case.code, (case.number, str(case.fields)[:80], rejected)
        assert case.names in rejected["reason"], (case.number, rejected)
        assert time.perf_counter() - started < 30.0
    listing = (await acme.get("/messages", params={"limit": 5000})).json()["messages"]
    assert {one["status"] for one in listing} == {"error"}


@sqlite
async def test_calls_that_are_wrong_are_told_what_and_where(api: Api) -> None:
    who = await clients(api)
    for case in CALLS:
        body = {"content": case.raw} if case.raw is not None else content(case.body) if case.body else {}
        headers = {**body.pop("headers", {}), **case.headers}
        answer = await who[case.who].request(
            case.method, case.path, params=case.query, headers=headers, **body
        )
        shown = (case.number, case.method, case.path, str(case.body)[:80], answer.text[:300])
        assert (answer.status_code, answer.json()["code"]) == (case.status, case.code), shown
        assert answer.json()["request_id"] == answer.headers["x-request-id"], shown
        assert case.names in json.dumps(answer.json()["detail"]), shown
    for client in who.values():
        assert (await client.get("/status")).status_code == 200
    assert (await who["other"].get("/messages/private")).json()["status"] == "pending"


@sqlite
@pytest.mark.bad_input("B2")
async def test_a_body_above_the_limit_is_refused_while_it_is_read(settings: Settings, store: Store) -> None:
    async with api_on(settings.model_copy(update={"max_body_mb": 1}), store) as api:
        answer = await api.admin.post(ADD, content=b"[" * (1 << 20) + b"x", headers=_JSON)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@sqlite
@pytest.mark.bad_input("B10")
async def test_a_disabled_tenant_is_let_in_no_more_and_loses_nothing(api: Api) -> None:
    acme = await api.as_tenant()
    await acme.post(ADD, json={"messages": [message("m1")]})
    await api.admin.put("/tenant/acme", json={"active": False})
    answer = await acme.post(ADD, json={"messages": [message("m2")]})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")
    await api.admin.put("/tenant/acme", json={"active": True})
    assert [one["id"] for one in (await acme.get("/messages")).json()["messages"]] == ["m1"]


@sqlite
@pytest.mark.bad_input("B12")
async def test_a_recipient_given_twice_is_taken(api: Api) -> None:
    acme = await api.as_tenant()
    twice = ["a@EXAMPLE.com", "a@example.com", "A <a@example.com>"]
    answer = await acme.post(ADD, json={"messages": [message(to=twice, cc="a@example.com")]})
    assert answer.json()["queued"] == 1


@sqlite
@pytest.mark.bad_input("B14")
async def test_addresses_of_all_the_world_are_taken(api: Api) -> None:
    acme = await api.as_tenant()
    for number, address in enumerate(
        ("j\u00f6rg@example.com", "a@m\u00fcnchen.example", "\u7528\u6237@\u4f8b\u5b50.example")
    ):
        answer = await acme.post(ADD, json={"messages": [message(f"m{number}", to=address)]})
        assert answer.json()["queued"] == 1, (address, answer.text)


@sqlite
@pytest.mark.bad_input("B22")
async def test_the_null_sender_is_taken(api: Api) -> None:
    acme = await api.as_tenant()
    assert (await acme.post(ADD, json={"messages": [message(return_path="<>")]})).json()["queued"] == 1


@sqlite
@pytest.mark.bad_input("B24")
async def test_bodies_with_odd_line_ends_are_taken(api: Api) -> None:
    acme = await api.as_tenant()
    bodies = ["a\nb", "a\rb", "x" * 5000, "\n.\n", "\r.\r", "\n.\r\n", "\r\n.\r\n", ".", ""]
    messages = [message(f"m{number}", body=body) for number, body in enumerate(bodies)]
    assert (await acme.post(ADD, json={"messages": messages})).json()["queued"] == len(bodies)


@sqlite
@pytest.mark.bad_input("B29")
@pytest.mark.parametrize("password", ["ENC:c2VjcmV0", "\u00e4\u00f6 \U0001f600", " ", "x" * 4096])
async def test_any_password_is_an_ordinary_password(api: Api, store: Store, password: str) -> None:
    await api.tenant()
    await api.account("acme", password=password)
    stored = await store.directory.tenant("acme")
    assert stored is not None
    view = await store.directory.account(stored.pk, "main")
    assert view is not None
    assert view.account.password == password


@sqlite
@pytest.mark.bad_input("B30")
async def test_a_limit_of_nothing_is_none(api: Api) -> None:
    acme = await api.as_tenant()
    for limit in (0, None):
        await api.account("acme", limit_per_minute=limit, limit_per_hour=limit)
        assert "limits" not in (await acme.get("/account/main")).json()


@sqlite
@pytest.mark.bad_input("B34")
async def test_framing_that_two_servers_could_read_differently_is_refused(api: Api) -> None:
    head = "POST /commands/add-messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    for raw in (
        f"{head}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        f"{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n{{}}\r\n0\r\n\r\n",
        f"{head}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}",
        f"{head}Content-Length: +2\r\n\r\n{{}}",
        f"{head}Content-Length : 2\r\n\r\n{{}}",
    ):
        reader, writer = await api.connect()
        writer.write(raw.encode())
        first = await reader.readline()
        assert first.split()[1] in (b"400", b"401"), (raw, first)
        if b"401" in first:
            assert not await _goes_on(reader), raw


async def _goes_on(reader: Any) -> bool:
    """Whether the connection stays open for a second request behind the first."""
    rest = await reader.read()
    return b"connection: close" not in rest.lower()


def _marked(file: Path) -> set[str]:
    """The rows for which tests of a file stand."""
    calls = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))
    return {
        str(argument.value)
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "bad_input"
        for argument in call.args
        if isinstance(argument, ast.Constant)
    }


def test_every_row_of_the_table_is_tested() -> None:
    found = {case.number for case in (*MESSAGES, *CALLS)}.union(*map(_marked, TESTS.rglob("test_*.py")))
    assert {f"B{number}" for number in range(1, 44)} - found == set()
