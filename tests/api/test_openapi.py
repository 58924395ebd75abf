"""The OpenAPI document: it is committed, it tells everything, and what it shows works."""

import json
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from mailproxy.api.app import ROUTES
from mailproxy.api.codes import ERRORS, REJECTIONS
from mailproxy.api.openapi import document
from mailproxy.api.openapi.glossary import WORDS
from mailproxy.api.openapi.operations import OPERATIONS
from mailproxy.model import EventType, Status
from tests.api.conftest import Api, message
from tests.api.documented import DOCUMENT, check, resolved, validator
from tests.api.test_submission import finish

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"
DESCRIBED = [
    (f"{method.upper()} {path}", operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]
REQUESTS = [label for label, _ in DESCRIBED]


def walk(one: Any) -> Iterator[dict[str, Any]]:
    if isinstance(one, dict):
        yield one
        for inner in one.values():
            yield from walk(inner)
    elif isinstance(one, list):
        for inner in one:
            yield from walk(inner)


def test_the_committed_document_is_up_to_date() -> None:
    remedy = "run `python -m docs.generate`"
    assert COMMITTED.read_text() == document.text(ROUTES), remedy


def test_every_route_is_described_and_nothing_else() -> None:
    assert set(REQUESTS) == {f"{route.method} {route.template}" for route in ROUTES} == set(OPERATIONS)


def test_every_operation_says_what_it_takes_and_answers() -> None:
    names = [operation["operationId"] for _, operation in DESCRIBED]
    assert len(set(names)) == len(names)
    for label, operation in DESCRIBED:
        assert operation["summary"], label
        assert operation["description"], label
        assert "security" in operation, label
        for parameter in map(resolved, operation["parameters"]):
            assert parameter["description"], (label, parameter)
        for status, answer in operation["responses"].items():
            [(kind, content)] = resolved(answer)["content"].items()
            assert content["schema"], (label, status)
            if kind == "application/json":
                assert all("value" in one for one in content["examples"].values()), (label, status)
        if "requestBody" in operation:
            assert body_shown(operation), label


def test_every_field_is_explained_and_every_explanation_is_used() -> None:
    used = set()
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for word, one in schema.get("properties", {}).items():
            assert one["description"], (name, word)
            used |= {word, f"{name}.{word}"}
    for route in ROUTES:
        if query := route.forms().get("query"):
            used |= {name for word in query.model_fields for name in (word, f"{query.__name__}.{word}")}
    assert set(WORDS) <= used


def test_every_error_word_is_some_routes() -> None:
    said = {code for answer in DOCUMENT["components"]["responses"].values() for code in codes_of(answer)}
    inline = {
        code
        for _, operation in DESCRIBED
        for one in operation["responses"].values()
        for code in codes_of(one)
    }
    assert (said | inline) - {"example"} == set(ERRORS)
    assert all(REJECTIONS.values())


def codes_of(answer: dict[str, Any]) -> list[str]:
    return list(answer.get("content", {}).get("application/json", {}).get("examples", ()))


def test_every_reference_leads_somewhere_and_every_schema_is_one() -> None:
    for one in walk(DOCUMENT):
        if "$ref" in one:
            assert resolved(one), one
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


def test_every_example_is_of_its_schema() -> None:
    for label, operation in DESCRIBED:
        parts = [*operation["responses"].values()]
        parts += [operation["requestBody"]] if "requestBody" in operation else []
        for part in map(resolved, parts):
            for content in part["content"].values():
                schema = validator(content["schema"])
                for example in content.get("examples", {}).values():
                    assert list(schema.iter_errors(example["value"])) == [], (label, example)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_every_request_shown_works_as_shown(api: Api) -> None:
    for label, operation in DESCRIBED:
        if label.endswith("/receipts/{n}"):
            continue  # receipts come by mail alone
        await api.admin.delete("/tenant/acme")
        await api.tenant("acme")
        held = message("order-1001", tenant_id="acme")
        added = await api.admin.post("/commands/add-messages", json={"messages": [held]})
        assert added.json()["queued"] == 1
        if label.endswith("/resolve"):
            await finish(api.store, "order-1001", Status.UNKNOWN, EventType.UNKNOWN)
        if label == "DELETE /suppressions":
            await api.admin.post(
                "/suppressions", params={"tenant_id": "acme"}, json={"address": "customer@example.org"}
            )
        answer = await ask_as_shown(api.admin, label, operation)
        is_link = label.startswith("GET /download")  # one that nobody was given opens nothing
        assert answer.status_code == (403 if is_link else 200), (label, answer.text)
        if answer.headers["content-type"] == "application/json":
            assert "warnings" not in answer.json(), label
            assert not answer.json().get("rejected"), label


async def ask_as_shown(client: httpx.AsyncClient, label: str, operation: dict[str, Any]) -> httpx.Response:
    method, path = label.split(" ")
    query = {}
    for parameter in operation["parameters"]:
        if "example" not in parameter:
            continue
        if parameter["in"] == "path":
            path = path.replace("{" + parameter["name"] + "}", parameter["example"])
        else:
            query[parameter["name"]] = parameter["example"]
    body = body_shown(operation) if "requestBody" in operation else None
    return await client.request(method, path, params=query, json=body)


def body_shown(operation: dict[str, Any]) -> Any:
    return operation["requestBody"]["content"]["application/json"]["examples"]["example"]["value"]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_the_document_and_its_pages_are_served_to_everybody(api: Api) -> None:
    nobody = await api.client()
    served = await nobody.get("/openapi.json")
    assert served.text == document.text(ROUTES)
    for page in ("/docs", "/redoc"):
        answer = await nobody.get(page)
        assert answer.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "http" not in answer.text.replace("http-equiv", "")
        named = re.findall(r'(?:src|spec-url|href)="([^"]+)"', answer.text)
        assert set(named) == {"docs/rapidoc-min.js", "openapi.json"}
        for link in named:
            assert (await nobody.get("/" + link)).status_code == 200


def test_the_viewer_is_shipped_with_its_licences() -> None:
    static = resources.files("mailproxy.api") / "static"
    for name in ("LICENSE.txt", "rapidoc-min.js.LICENSE.txt"):
        assert "MIT" in (static / name).read_text()
    assert "rapidoc-min.js.LICENSE.txt" in (static / "rapidoc-min.js").read_text()[:200]


async def test_an_answer_that_is_not_documented_fails_its_test() -> None:
    request = httpx.Request("GET", "http://127.0.0.1/health")
    for status, said in (
        (418, {"ok": True}),
        (200, {"ok": True, "status": "ok", "more": 1}),
        (200, {"ok": 1}),
    ):
        with pytest.raises((AssertionError, jsonschema_rs.ValidationError)):
            await check(httpx.Response(status, json=said, request=request))
    await check(httpx.Response(200, json={"ok": True, "status": "ok"}, request=request))
    unknown = httpx.Request("GET", "http://127.0.0.1/nowhere")
    error = {"detail": "Not Found", "code": "not_found", "request_id": "r"}
    await check(httpx.Response(404, json=error, request=unknown))
    assert json.loads(COMMITTED.read_text())["openapi"] == "3.1.0"
