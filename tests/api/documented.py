"""Holds real answers to the OpenAPI document, with every object closed: no field may be answered unsaid."""

import copy
import json
from functools import cache
from typing import Any

import httpx
import jsonschema_rs
from starlette.routing import compile_path

from mailproxy.api.app import ROUTES
from mailproxy.api.openapi import document

DOCUMENT = document.build(ROUTES)
_PATHS = [(route, compile_path(route.path)[0]) for route in ROUTES]


def closed(schemas: dict[str, Any]) -> dict[str, Any]:
    found = copy.deepcopy(schemas)
    for schema in found.values():
        if "properties" in schema:
            schema.setdefault("unevaluatedProperties", False)
    return found


_CLOSED = {**DOCUMENT["components"], "schemas": closed(DOCUMENT["components"]["schemas"])}


def validator(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for({**schema, "components": _CLOSED})


def resolved(one: dict[str, Any]) -> dict[str, Any]:
    found: Any = one
    if reference := one.get("$ref"):
        found = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]
    return dict(found)


@cache
def _expected(method: str, template: str, status: int) -> tuple[str, jsonschema_rs.Validator] | None:
    answers = DOCUMENT["paths"][template][method.lower()]["responses"]
    if str(status) not in answers:
        return None
    [(kind, content)] = resolved(answers[str(status)])["content"].items()
    return kind, validator(content["schema"])


@cache
def _error() -> jsonschema_rs.Validator:
    return validator({"$ref": "#/components/schemas/Error"})


async def check(response: httpx.Response) -> None:
    """An httpx response hook: fails for an answer that the document does not tell."""
    request = response.request
    if request.method == "HEAD":
        return
    body = await response.aread()
    label = f"{request.method} {request.url.path} {response.status_code}: {body[:400]!r}"
    path = request.url.raw_path.decode("ascii").partition("?")[0]
    on_path = [route for route, pattern in _PATHS if pattern.match(path)]
    route = next((one for one in on_path if one.method == request.method), None)
    if route is None:
        assert response.status_code in (404, 405, 414), label
        _error().validate(json.loads(body))
        return
    expected = _expected(route.method, route.template, response.status_code)
    assert expected is not None, f"not documented: {label}"
    kind, schema = expected
    assert response.headers["content-type"].partition(";")[0] == kind, label
    if kind == "application/json":
        schema.validate(json.loads(body))
