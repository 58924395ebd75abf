"""Who may do what: the matrix is generated from the route table, so no route can be forgotten."""

import time
from dataclasses import dataclass

import httpx
import pytest

from mailproxy import tokens
from mailproxy.api.app import ROUTES
from mailproxy.api.auth import ADMIN_ONLY, Access, FailedAuth
from mailproxy.api.routing import Route
from mailproxy.config import Settings
from mailproxy.store import Store
from tests.api.conftest import Api, api_on, message

INVALID = "Invalid or missing API token"
FOREIGN = "Token not authorized for this tenant"
GUARDED = [route for route in ROUTES if route.access not in (Access.PUBLIC, Access.METRICS)]
BODIES = {
    "/commands/add-messages": {"messages": [message(tenant_id="acme")]},
    "/account": {"id": "main", "tenant_id": "acme", "host": "127.0.0.1", "port": 25},
    "/tenant": {"id": "acme"},
    "/messages/{id:path}/resolve": {"as": "sent"},
    "/dead-letters/discard": {"event_ids": [1]},
    "/suppressions": {"address": "gone@example.org"},
}


def path_of(route: Route) -> str:
    named = {"/tenant/{id}": "acme", "/account/{id}": "main", "/messages/{id}": "m1"}
    for prefix, identity in named.items():
        if route.template.startswith(prefix):
            return route.template.replace("{id}", identity)
    return route.template


def named_in_query(route: Route) -> dict[str, str]:
    return (
        {"address": "gone@example.org"} if (route.method, route.path) == ("DELETE", "/suppressions") else {}
    )


async def ask(client: httpx.AsyncClient, route: Route, tenant_id: str | None = "acme") -> httpx.Response:
    params = {} if tenant_id is None else {"tenant_id": tenant_id}
    params |= named_in_query(route)
    body = BODIES.get(route.path, {}) if route.method != "GET" else None
    return await client.request(route.method, path_of(route), params=params, json=body)


@dataclass
class Cast:
    """One client for every kind of caller."""

    nobody: httpx.AsyncClient
    stranger: httpx.AsyncClient
    admin: httpx.AsyncClient
    own: httpx.AsyncClient
    other: httpx.AsyncClient
    revoked: httpx.AsyncClient
    expired: httpx.AsyncClient
    disabled: httpx.AsyncClient


@pytest.fixture
async def cast(api: Api) -> Cast:
    own = await api.tenant("acme")
    added = await api.admin.post("/commands/add-messages", json=BODIES["/commands/add-messages"])
    assert added.json()["queued"] == 1
    revoked = await api.tenant("revoked")
    await api.admin.delete("/tenant/revoked/api-key")
    await api.tenant("expired")
    expired = tokens.new_key()
    await api.store.directory.put_key(
        "expired", expired.hash, expired.key_id, expires_at=time.time() - 1, keep_previous=0
    )
    disabled = await api.tenant("disabled")
    await api.admin.put("/tenant/disabled", json={"active": False})
    return Cast(
        nobody=await api.client(),
        stranger=await api.client(tokens.new_key().token),
        admin=api.admin,
        own=await api.client(own),
        other=await api.client(await api.tenant("other")),
        revoked=await api.client(revoked),
        expired=await api.client(expired.token),
        disabled=await api.client(disabled),
    )


def test_every_route_says_who_may_use_it() -> None:
    assert all(isinstance(route.access, Access) for route in ROUTES)
    opened = {route.path for route in ROUTES if route.access is Access.PUBLIC}
    described = {"/openapi.json", "/docs", "/redoc", "/docs/rapidoc-min.js"}
    linked = {"/download/{token}/{filename}"}
    assert opened == {"/health", "/livez", "/readyz"} | described | linked
    assert {route.path for route in ROUTES if route.access is Access.METRICS} == {"/metrics"}


@pytest.mark.bad_input("B10")
async def test_nobody_gets_in_without_a_valid_token(cast: Cast) -> None:
    for route in GUARDED:
        for client in (cast.nobody, cast.stranger, cast.revoked, cast.expired, cast.disabled):
            answer = await ask(client, route)
            assert answer.status_code == 401, route
            expected = INVALID
            if client is cast.nobody and route.access is Access.ADMIN:
                expected = "Admin token required"
            assert answer.json()["detail"] == expected, route


async def test_tenants_are_kept_out_of_admin_routes(cast: Cast) -> None:
    for route in GUARDED:
        if route.access is Access.ADMIN:
            for client in (cast.own, cast.other):
                answer = await ask(client, route)
                assert answer.status_code == 403, route
                assert answer.json()["detail"] == ADMIN_ONLY


async def test_a_key_of_another_tenant_is_refused_and_changes_nothing(cast: Cast) -> None:
    before = (await cast.own.get("/messages")).json()["messages"]
    for route in GUARDED:
        if route.access is Access.TENANT_OR_ADMIN:
            answer = await ask(cast.other, route)
            assert answer.status_code == 401, route
            assert answer.json()["detail"] == FOREIGN, route
    assert (await cast.own.get("/messages")).json()["messages"] == before


async def test_objects_of_another_tenant_are_missing_for_a_key_that_names_none(cast: Cast) -> None:
    for route in GUARDED:
        if "{id}" in route.template and route.access is Access.TENANT_OR_ADMIN:
            answer = await ask(cast.other, route, tenant_id=None)
            if route.template.startswith("/account/"):
                continue
            assert answer.status_code in (401, 404), route


def may_be(route: Route) -> tuple[int, ...]:
    """No receipt has come for the message of these tests; tests/pec fetch some."""
    return (404,) if route.path.endswith("/receipts/{n}") else (200, 409)


async def test_the_admin_and_the_tenant_itself_may(cast: Cast) -> None:
    last = ("DELETE", "/account/{id}"), ("DELETE", "/tenant/{id}")
    gentle = [route for route in GUARDED if (route.method, route.path) not in last]
    for route in gentle:
        assert (await ask(cast.admin, route)).status_code in may_be(route), route
    await cast.admin.post("/tenant", json={"id": "acme"})
    key = (await cast.admin.post("/tenant/acme/api-key")).json()["api_key"]
    for route in gentle:
        if route.access is not Access.ADMIN:
            answer = await cast.nobody.request(
                route.method,
                path_of(route),
                params=named_in_query(route),
                json=BODIES.get(route.path, {}) if route.method != "GET" else None,
                headers={"Authorization": f"Bearer {key}"},
            )
            assert answer.status_code in may_be(route), (route, answer.text)
    for method, path in last:
        route = next(route for route in GUARDED if (route.method, route.path) == (method, path))
        assert (await ask(cast.admin, route)).status_code == 200


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.bad_input("B32")
async def test_odd_credentials_are_refused_and_never_upset_the_server(api: Api) -> None:
    key = await api.tenant()
    nobody = await api.client()
    for headers, status in (
        ([("X-API-Token", "")], 401),
        ([("X-API-Token", "x" * 10_000)], 401),
        ([("X-API-Token", b"\xff\xfe\xfc")], 401),
        ([("X-API-Token", "schl\u00fcssel".encode())], 401),
        ([("Authorization", "Basic YTpi")], 401),
        ([("Authorization", "Bearer")], 401),
        ([("Authorization", f"Token {key}")], 401),
        ([("Authorization", f"bearer {key}")], 200),
        ([("Authorization", f"Bearer  {key}")], 200),
        ([("X-API-Token", key), ("X-API-Token", key)], 400),
        ([("X-API-Token", key), ("Authorization", f"Bearer {key}")], 400),
    ):
        answer = await nobody.get("/accounts", headers=headers)
        assert answer.status_code == status, headers
        if status == 401:
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_server_opened_on_purpose_lets_everybody_in_but_false_keys_out(
    settings: Settings, store: Store
) -> None:
    opened = settings.model_copy(update={"api_token": None, "allow_anonymous": True})
    async with api_on(opened, store) as api:
        nobody = await api.client()
        made = await nobody.post("/tenant", json={"id": "acme"})
        assert made.status_code == 200
        assert (await (await api.client("wrong")).get("/tenants")).status_code == 401
        tenant = await api.client(made.json()["api_key"])
        assert (await tenant.get("/tenants")).status_code == 403


def test_an_address_that_keeps_guessing_is_told_to_wait() -> None:
    failures = FailedAuth(limit=3, window=60.0, addresses=2)
    assert [failures.note("a", now) for now in (0.0, 1.0, 2.0)] == [None, None, None]
    assert failures.note("a", 10.0) == 50.0
    assert failures.note("b", 10.0) is None
    assert failures.note("a", 60.0) is None
    failures.note("c", 60.0)
    assert failures.note("b", 61.0) is None


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_guessing_ends_in_429_but_a_valid_token_still_works(api: Api) -> None:
    guesser = await api.client("wrong")
    statuses = [(await guesser.get("/status")).status_code for _ in range(1001)]
    assert statuses[:1000] == [401] * 1000
    late = await guesser.get("/status")
    assert late.status_code == 429
    assert int(late.headers["retry-after"]) <= 60
    assert (await api.admin.get("/status")).status_code == 200
