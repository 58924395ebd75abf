"""The OpenAPI 3.1 document, made from the route table, the wire models and the answers' types."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import getdoc
from typing import Any

from mailproxy import __version__
from mailproxy.api import schemas
from mailproxy.api.auth import Access
from mailproxy.api.codes import ERRORS
from mailproxy.api.idempotency import HEADER, KEY
from mailproxy.api.openapi import errors
from mailproxy.api.openapi.components import Components
from mailproxy.api.openapi.glossary import ABOUT, IDS, TAGS
from mailproxy.api.openapi.operation import Operation
from mailproxy.api.openapi.operations import OPERATIONS
from mailproxy.api.routing import Route
from mailproxy.api.wire import Form

_JSON = "application/json"
_ADMIN_ROLE, _ANY_ROLE = ["admin"], ["admin", "tenant"]
_SECURITY: Mapping[Access, list[dict[str, list[str]]]] = {
    Access.PUBLIC: [],
    Access.METRICS: [{}, {"ApiToken": _ADMIN_ROLE}, {"Bearer": _ADMIN_ROLE}],
    Access.ANY_TOKEN: [{"ApiToken": _ANY_ROLE}, {"Bearer": _ANY_ROLE}],
    Access.TENANT_OR_ADMIN: [{"ApiToken": _ANY_ROLE}, {"Bearer": _ANY_ROLE}],
    Access.ADMIN: [{"ApiToken": _ADMIN_ROLE}, {"Bearer": _ADMIN_ROLE}],
}
_WHO = {
    Access.PUBLIC: "For everybody.",
    Access.METRICS: "For everybody, unless a metrics token is configured: then for it and for the admin.",
    Access.ANY_TOKEN: "For every valid token.",
    Access.TENANT_OR_ADMIN: "For a tenant's key and for the admin.",
    Access.ADMIN: "For the admin.",
}
_REQUEST_ID = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "An id for this request; one is made when it is missing or odd.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:/+=@-]{1,128}$"},
}
_IDEMPOTENCY_KEY = {
    "name": HEADER,
    "in": "header",
    "description": "Under the same key the same call happens once in 24 hours; its answer is said again.",
    "schema": {"type": "string", "pattern": f"^{KEY}$"},
}
_RESPONSE_HEADERS: Mapping[str, Any] = {
    "X-Request-ID": {"description": "The request's id.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}},
    "WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true` when this was said before.",
        "schema": {"const": "true"},
    },
}
_HEADERS_AT = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}


@cache
def text(routes: tuple[Route, ...]) -> str:
    return json.dumps(build(routes), indent=1, ensure_ascii=False) + "\n"


def build(routes: Sequence[Route]) -> dict[str, Any]:
    entries = [_Entry.of(route) for route in routes]
    components = _components(entries)
    responses: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for entry in entries:
        found = paths.setdefault(entry.route.template, {})
        found[entry.route.method.lower()] = _operation(entry, components, responses)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mailproxy",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(map(_tag, routes))],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.schemas.items())),
            "responses": dict(sorted(responses.items())),
            "parameters": {"RequestId": _REQUEST_ID, "IdempotencyKey": _IDEMPOTENCY_KEY},
            "headers": _RESPONSE_HEADERS,
            "securitySchemes": {
                "ApiToken": {"type": "apiKey", "in": "header", "name": "X-API-Token"},
                "Bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


@dataclass(frozen=True, slots=True)
class _Entry:
    """A route, what is said about it, and the types it reads."""

    route: Route
    operation: Operation
    query: type[Form] | None
    body: Any

    @classmethod
    def of(cls, route: Route) -> "_Entry":
        operation = OPERATIONS[f"{route.method} {route.template}"]
        forms = route.forms()
        return cls(route, operation, forms.get("query"), operation.body or forms.get("body"))


def _components(entries: Sequence[_Entry]) -> Components:
    types: list[Any] = [schemas.Error]
    types += [entry.operation.answer for entry in entries if not isinstance(entry.operation.answer, str)]
    types += [entry.body for entry in entries if entry.body is not None]
    components = Components(types, [entry.query for entry in entries if entry.query is not None])
    for entry in entries:
        if entry.body is not None:
            components.refine_body(entry.body, partial=entry.route.method in ("PUT", "PATCH"))
    return components


def _tag(route: Route) -> str:
    return TAGS.get(route.path.split("/")[1], "service")


def _operation(entry: _Entry, components: Components, responses: dict[str, Any]) -> dict[str, Any]:
    route, operation = entry.route, entry.operation
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [_tag(route)],
        "summary": operation.summary,
        "description": "\n\n".join(filter(None, (getdoc(route.endpoint), _WHO[route.access]))),
        "security": _SECURITY[route.access],
        "parameters": _parameters(entry, components),
    }
    if entry.body is not None:
        content = _content(components.of(entry.body), operation.sent)
        described["requestBody"] = {"required": operation.body_required, "content": content}
    done = [status for status in operation.answered_at if status < 300]
    described["responses"] = {str(status): _answer(entry, components) for status in done}
    for status, codes in errors.of(route, entry.query, entry.body, operation.errors).items():
        if status in operation.answered_at:
            described["responses"][str(status)] = _either(entry, status, codes, components)
            continue
        name = ".".join((str(status), *codes))
        responses[name] = _error(status, codes)
        described["responses"][str(status)] = {"$ref": f"#/components/responses/{name}"}
    return described


def _parameters(entry: _Entry, components: Components) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name in re.findall(r"{(\w+)}", entry.route.template):
        about = {"description": IDS[_tag(entry.route)], "schema": {"type": "string", "minLength": 1}}
        found.append({"name": name, "in": "path", "required": True, **about})
    if entry.query is not None:
        for name, schema in components.parameters(entry.query).items():
            found.append(
                {"name": name, "in": "query", "description": schema.pop("description"), "schema": schema}
            )
    for parameter in found:
        if parameter["name"] in entry.operation.given:
            parameter["example"] = entry.operation.given[parameter["name"]]
    if entry.operation.happens_once:
        found.append({"$ref": "#/components/parameters/IdempotencyKey"})
    return [*found, {"$ref": "#/components/parameters/RequestId"}]


def _answer(entry: _Entry, components: Components) -> dict[str, Any]:
    kind = entry.operation.answer
    if isinstance(kind, str):
        content: dict[str, Any] = {kind: {"schema": {"type": "string"}}}
    else:
        content = _content(components.of(kind), entry.operation.example)
    headers = _headers(200, *(("Idempotent-Replayed",) if entry.operation.happens_once else ()))
    return {"description": entry.route.answers, "headers": headers, "content": content}


def _content(schema: dict[str, Any], example: object) -> dict[str, Any]:
    return {_JSON: {"schema": schema, "examples": {"example": {"value": example}}}}


def _either(entry: _Entry, status: int, codes: Sequence[str], components: Components) -> dict[str, Any]:
    """An error, or the type of a 200 saying no."""
    described = _error(status, codes)
    content = described["content"][_JSON]
    content["schema"] = {"anyOf": [components.of(entry.operation.answer), content["schema"]]}
    return described


def _error(status: int, codes: Sequence[str]) -> dict[str, Any]:
    of_these = {"properties": {"code": {"enum": list(codes)}}}
    examples = {
        code: {
            "summary": ERRORS[code].meaning,
            "value": {"detail": ERRORS[code].example, "code": code, "request_id": "5f0c3f6e9b7d4a51"},
        }
        for code in codes
    }
    return {
        "description": "\n".join(f"* `{code}`: {ERRORS[code].meaning}" for code in codes),
        "headers": _headers(status),
        "content": {
            _JSON: {
                "schema": {"allOf": [{"$ref": "#/components/schemas/Error"}, of_these]},
                "examples": examples,
            }
        },
    }


def _headers(status: int, *more: str) -> dict[str, Any]:
    names = ("X-Request-ID", *_HEADERS_AT.get(status, ()), *more)
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
