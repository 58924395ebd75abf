"""Where a tenant may let the service connect to, and where only the admin may."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from mailproxy.config import Settings
from mailproxy.store import Store
from tests.api.conftest import Api, api_on

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)

HOSTS = ["127.0.0.1", "localhost", "169.254.169.254", "10.0.0.1", "2130706433", "0x7f.1", "::ffff:127.0.0.1"]


@pytest.fixture
async def tenant(api: Api) -> httpx.AsyncClient:
    return await api.as_tenant(account=None)


@pytest.fixture
async def allowing(settings: Settings, store: Store) -> AsyncIterator[Api]:
    async with api_on(settings.model_copy(update={"egress_allow": ("127.0.0.0/8",)}), store) as running:
        yield running


def account(host: str, port: int = 25, **fields: Any) -> dict[str, Any]:
    return {"id": "main", "tenant_id": "acme", "host": host, "port": port, **fields}


async def guarded(api: Api) -> bool:
    tenant = await api.store.directory.tenant("acme")
    assert tenant is not None
    view = await api.store.directory.account(tenant.pk, "main")
    assert view is not None
    return view.account.host_set_by_tenant


@pytest.mark.parametrize("host", HOSTS)
async def test_a_tenant_sets_no_smtp_server_inside(api: Api, tenant: httpx.AsyncClient, host: str) -> None:
    answer = await tenant.post("/account", json=account(host))
    assert (answer.status_code, answer.json()["code"]) == (400, "host_not_allowed")
    assert "GMP_EGRESS_ALLOW" in answer.json()["detail"]
    assert (await tenant.get("/account/main")).status_code == 404
    assert (await api.admin.post("/account", json=account(host))).status_code == 200
    assert not await guarded(api)


async def test_a_tenant_uses_no_port_of_another_service(tenant: httpx.AsyncClient) -> None:
    for port in (22, 80, 143):
        answer = await tenant.post("/account", json=account("smtp.example.com", port))
        assert (answer.status_code, answer.json()["code"]) == (400, "host_not_allowed")
    for port in (25, 465, 587, 2525):
        assert (await tenant.post("/account", json=account("smtp.example.com", port))).status_code == 200


async def test_what_a_tenant_set_is_guarded_until_the_admin_sets_it(
    api: Api, tenant: httpx.AsyncClient
) -> None:
    await tenant.post("/account", json=account("smtp.example.com"))
    assert await guarded(api)
    await api.admin.patch("/account/main", params={"tenant_id": "acme"}, json={"port": 587})
    assert await guarded(api)
    await api.admin.patch("/account/main", params={"tenant_id": "acme"}, json={"host": "smtp.example.com"})
    assert not await guarded(api)
    await tenant.patch("/account/main", json={"port": 25})
    assert await guarded(api)


async def test_what_the_admin_set_stays_the_admins_while_a_tenant_leaves_it(
    api: Api, tenant: httpx.AsyncClient
) -> None:
    await api.admin.post("/account", json=account("127.0.0.1"))
    for answer in (
        await tenant.patch("/account/main", json={"password": "new"}),
        await tenant.post("/account", json=account("127.0.0.1", user="u")),
    ):
        assert answer.status_code == 200
    assert not await guarded(api)
    moved = await tenant.patch("/account/main", json={"port": 2525})
    assert (moved.status_code, moved.json()["code"]) == (400, "host_not_allowed")


URLS = (
    "http://127.0.0.1:8000",
    "http://localhost",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://[::1]:9000/x",
    "http://[::ffff:127.0.0.1]",
    "https://example.com:22",
    "http://169.254.169.254/latest",
)


@pytest.mark.parametrize("url", URLS)
async def test_a_tenant_sets_no_url_inside(api: Api, tenant: httpx.AsyncClient, url: str) -> None:
    answer = await tenant.put("/tenant/acme", json={"client_base_url": url})
    assert (answer.status_code, answer.json()["code"]) == (400, "url_not_allowed")
    assert (await api.admin.put("/tenant/acme", json={"client_base_url": url})).status_code == 200
    assert (await tenant.put("/tenant/acme", json={"client_base_url": url})).status_code == 200
    stored = await api.store.directory.tenant("acme")
    assert stored is not None
    assert not stored.url_set_by_tenant


async def test_a_url_a_tenant_set_is_called_guarded(api: Api, tenant: httpx.AsyncClient) -> None:
    await tenant.put("/tenant/acme", json={"client_base_url": "https://app.example.com"})
    stored = await api.store.directory.tenant("acme")
    assert stored is not None
    assert stored.url_set_by_tenant


async def test_the_operator_may_allow_targets_inside(allowing: Api) -> None:
    tenant = await allowing.as_tenant(account=None)
    assert (await tenant.post("/account", json=account("127.0.0.1"))).status_code == 200
    assert await guarded(allowing)
    url = {"client_base_url": "http://127.0.0.1:9000"}
    assert (await tenant.put("/tenant/acme", json=url)).status_code == 200


async def test_the_admins_password_does_not_move_to_a_server_of_the_tenants_choice(
    api: Api, tenant: httpx.AsyncClient
) -> None:
    await api.admin.post("/account", json=account("smtp.example.com", user="u", password="shared"))
    await tenant.patch("/account/main", json={"port": 587})
    for answer in (
        await tenant.patch("/account/main", json={"host": "smtp.evil.example"}),
        await tenant.post("/account", json=account("smtp.evil.example", user="u")),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, "password_required")
    assert (await tenant.get("/account/main")).json()["host"] == "smtp.example.com"
    moved = {"host": "smtp.other.example", "password": "own"}
    assert (await tenant.patch("/account/main", json=moved)).status_code == 200
    home = {"tenant_id": "acme"}
    assert (
        await api.admin.patch("/account/main", params=home, json={"host": "x.example"})
    ).status_code == 200
