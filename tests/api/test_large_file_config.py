"""What may be set as `large_file_config`, by whom, and what is shown of it."""

from pathlib import Path
from typing import Any

import httpx

from mailproxy.config import Settings
from mailproxy.records import Tenant
from mailproxy.store import Store
from tests.api.conftest import Api, api_on

OWN = {"key": "the-key", "secret": "the-secret"}
S3 = {"enabled": True, "action": "rewrite", "storage_url": "s3://files/acme", "file_ttl_days": 7}


async def _put(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.put("/tenant/acme", json={"large_file_config": fields})


async def _stored(store: Store) -> Tenant:
    tenant = await store.directory.tenant("acme")
    assert tenant is not None
    return tenant


async def _refused(api: Api, client: httpx.AsyncClient, **fields: Any) -> tuple[int, str, str]:
    answer = await _put(client, **fields)
    told = answer.json()
    detail = told["detail"]
    where = detail if isinstance(detail, str) else ".".join(map(str, detail[0]["loc"]))
    shown = (await api.admin.get("/tenant/acme")).json()
    assert "large_file_config" not in shown, fields
    return answer.status_code, told["code"], where


async def test_what_is_set_is_shown_without_secrets(api: Api, store: Store) -> None:
    options = {"endpoint_url": "https://s3.example.com", "region": "eu-south-1"}
    await api.tenant(account=None)
    answer = await _put(api.admin, **S3, storage_options={**options, **OWN})
    assert answer.status_code == 200, answer.text
    shown = (await api.admin.get("/tenant/acme")).json()["large_file_config"]
    assert shown == {**S3, "storage_options": options, "storage_secrets_set": True}
    assert (await _stored(store)).large_file_secrets == OWN


async def test_secrets_stay_while_the_storage_does(api: Api, store: Store) -> None:
    await api.tenant(account=None)
    await _put(api.admin, **S3, storage_options=OWN)
    await _put(api.admin, **{**S3, "max_size_mb": 3})
    assert (await _stored(store)).large_file_secrets == OWN
    await _put(api.admin, **S3, storage_options={"endpoint_url": "https://elsewhere.example.com"})
    assert (await _stored(store)).large_file_secrets == {}


async def test_posting_a_tenant_anew_leaves_nothing(api: Api, store: Store) -> None:
    await api.tenant(account=None, large_file_config={**S3, "storage_options": OWN})
    assert (await api.admin.post("/tenant", json={"id": "acme"})).status_code == 200
    assert (await _stored(store)).large_file_config is None
    assert (await _stored(store)).large_file_secrets == {}


_FAULTS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"storage_url": "memory://x"}, "storage_url"),
    ({"storage_url": "filecache::s3://x"}, "storage_url"),
    ({"storage_url": "s3://b/../c"}, "storage_url"),
    ({"max_size_mb": 0}, "max_size_mb"),
    ({"max_size_mb": "many"}, "max_size_mb"),
    ({"action": "burn"}, "action"),
    ({"file_ttl_days": -1}, "file_ttl_days"),
    ({"public_base_url": "javascript:alert(1)"}, "public_base_url"),
    ({"max_size": 3}, "max_size"),
    ({"enabled": True, "action": "rewrite"}, "storage_url"),
    ({**S3, "file_ttl_days": 30}, "public_base_url"),
    ({**S3, "links": "storage", "file_ttl_days": 30}, "file_ttl_days"),
    ({"storage_url": "s3://files", "storage_options": {"anon": True}}, "storage_options.anon"),
    (
        {"storage_url": "s3://files", "storage_options": {"endpoint_url": "file:///etc"}},
        "storage_options.endpoint_url",
    ),
    (
        {"storage_url": "gs://files", "storage_options": {"service_account": {"type": "authorized_user"}}},
        "storage_options.service_account",
    ),
)


async def test_every_fault_is_named_by_its_field(api: Api) -> None:
    await api.tenant(account=None)
    for fields, field in _FAULTS:
        told = await _refused(api, api.admin, **fields)
        assert told == (422, "validation_error", f"body.large_file_config.{field}"), fields


async def test_options_of_another_storage_are_refused(api: Api) -> None:
    await api.tenant(account=None)
    told = await _refused(api, api.admin, storage_url="s3://files", storage_options={"account_name": "acme"})
    assert told == (422, "validation_error", "body.large_file_config")


async def test_a_directory_needs_a_base_of_the_operators(
    settings: Settings, store: Store, tmp_path: Path
) -> None:
    wanted = {**S3, "storage_url": f"file://{tmp_path}/files", "public_base_url": "https://mail.example.com"}
    async with api_on(settings, store) as api:
        await api.tenant(account=None)
        assert (await _refused(api, api.admin, **wanted))[:2] == (400, "storage_not_usable")
    allowing = settings.model_copy(update={"large_file_base_dir": (tmp_path / "files",)})
    async with api_on(allowing, store) as api:
        assert (await _put(api.admin, **wanted)).status_code == 200
        outside = {**wanted, "storage_url": f"file://{tmp_path}/other"}
        assert (await _put(api.admin, **outside)).json()["code"] == "storage_not_usable"


async def test_the_instances_public_url_is_enough(settings: Settings, store: Store) -> None:
    known = settings.model_copy(update={"public_base_url": "https://mail.example.com"})
    async with api_on(known, store) as api:
        await api.tenant(account=None)
        assert (await _put(api.admin, **{**S3, "file_ttl_days": 30})).status_code == 200


# -- with a tenant's key


_NOT_A_TENANTS: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"storage_url": "file:///srv/files"}, "storage_not_allowed", "disk"),
    ({"storage_url": "s3://files"}, "storage_not_allowed", "key and secret"),
    ({"storage_url": "az://files"}, "storage_not_allowed", "account_name"),
    (
        {
            "storage_url": "s3://files",
            "storage_options": {**OWN, "endpoint_url": "http://169.254.169.254"},
        },
        "url_not_allowed",
        "metadata",
    ),
    (
        {
            "storage_url": "s3://files",
            "storage_options": {**OWN, "endpoint_url": "http://localhost:9000"},
        },
        "url_not_allowed",
        "GMP_EGRESS_ALLOW",
    ),
)


async def test_a_tenant_uses_neither_our_credentials_nor_our_network(api: Api) -> None:
    tenant = await api.as_tenant(account=None)
    for fields, code, word in _NOT_A_TENANTS:
        status, told, detail = await _refused(api, tenant, **fields)
        assert (status, told) == (400, code), fields
        assert word in detail


async def test_a_tenant_may_bring_a_storage_of_its_own(api: Api, store: Store) -> None:
    tenant = await api.as_tenant(account=None)
    options = {**OWN, "endpoint_url": "https://s3.example.com"}
    assert (await _put(tenant, **S3, storage_options=options)).status_code == 200
    assert '"set_by_tenant": true' in ((await _stored(store)).large_file_config or "")
    # Repeated without its secrets by the tenant, it stays what it is.
    plain = {"endpoint_url": "https://s3.example.com"}
    assert (await _put(tenant, **S3, storage_options=plain)).status_code == 200
    assert (await _stored(store)).large_file_secrets == OWN


async def test_a_tenant_cannot_send_the_admins_credentials_elsewhere(api: Api, store: Store) -> None:
    tenant = await api.as_tenant(account=None)
    await _put(api.admin, **S3, storage_options=OWN)
    moved = {"endpoint_url": "https://evil.example.com"}
    answer = await _put(tenant, **S3, storage_options=moved)
    assert (answer.status_code, answer.json()["code"]) == (400, "storage_not_allowed")
    assert (await _stored(store)).large_file_secrets == OWN


async def test_a_tenant_may_change_the_rest_of_what_the_admin_set(api: Api, store: Store) -> None:
    tenant = await api.as_tenant(account=None)
    await _put(api.admin, **S3)
    assert (await _put(tenant, **{**S3, "max_size_mb": 2})).status_code == 200
    assert '"set_by_tenant": false' in ((await _stored(store)).large_file_config or "")
