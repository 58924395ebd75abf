"""Secrets that sign calls: made or given, changed over, ended, and never shown again."""

import time
from typing import Any

import httpx
import pytest

from mailproxy import signing, webhooks
from mailproxy.store import Store
from tests.api.conftest import Api

OWN, OTHER = webhooks.new_secret(), webhooks.new_secret()


async def active(store: Store) -> tuple[str, ...]:
    tenant = await store.directory.tenant("acme")
    assert tenant is not None
    return signing.active(tenant.webhook_secrets, time.time())


async def shown(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/tenant/acme")
    assert "whsec_" not in answer.text
    return dict(answer.json())


async def test_a_secret_is_made_and_shown_once(api: Api, store: Store) -> None:
    tenant = await api.as_tenant()
    assert (await shown(tenant))["webhook_secret_set"] is False
    made = (await tenant.post("/tenant/acme/webhook-secret")).json()
    assert webhooks.key_of(made["webhook_secret"])
    assert await active(store) == (made["webhook_secret"],)
    assert (await shown(tenant))["webhook_secret_set"] is True


async def test_two_secrets_sign_while_the_receiver_changes_over(api: Api, store: Store) -> None:
    tenant = await api.as_tenant()
    await tenant.post("/tenant/acme/webhook-secret", json={"webhook_secret": OWN})
    answer = (await tenant.post("/tenant/acme/webhook-secret", json={"keep_previous": 600})).json()
    assert await active(store) == (answer["webhook_secret"], OWN)
    assert time.time() < answer["previous_until"] <= time.time() + 600
    assert (await shown(api.admin))["webhook_secret_previous_until"] == answer["previous_until"]
    await tenant.post("/tenant/acme/webhook-secret", json={"webhook_secret": OTHER, "keep_previous": 0})
    assert await active(store) == (OTHER,)
    assert "webhook_secret_previous_until" not in await shown(tenant)


async def test_a_given_secret_is_not_answered(api: Api, store: Store) -> None:
    await api.tenant(webhook_secret=OWN)
    assert await active(store) == (OWN,)
    await api.admin.put("/tenant/acme", json={"webhook_secret": OTHER})
    assert await active(store) == (OTHER,)
    answer = await api.admin.post("/tenant/acme/webhook-secret", json={"webhook_secret": OWN})
    assert "webhook_secret" not in answer.json()


async def test_other_changes_leave_the_secret_alone(api: Api, store: Store) -> None:
    await api.tenant(webhook_secret=OWN)
    await api.admin.put("/tenant/acme", json={"name": "Acme"})
    await api.admin.post("/tenant", json={"id": "acme"})
    assert await active(store) == (OWN,)


async def test_signing_can_be_ended(api: Api, store: Store) -> None:
    await api.tenant(webhook_secret=OWN)
    assert (await api.admin.delete("/tenant/acme/webhook-secret")).json() == {"ok": True}
    assert await active(store) == ()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_what_is_no_secret_is_refused_without_an_echo(api: Api) -> None:
    await api.tenant()
    for wrong in ("s3cret", "whsec_", "whsec_" + "A" * 28, "whsec_" + "A" * 90, "whsec_\u00e4\u00e4", 7):
        for method, path in (("PUT", "/tenant/acme"), ("POST", "/tenant/acme/webhook-secret")):
            answer = await api.admin.request(method, path, json={"webhook_secret": wrong})
            assert answer.status_code == 422, wrong
            assert answer.json()["detail"][0]["loc"] == ["body", "webhook_secret"]
            assert not isinstance(wrong, str) or wrong == "whsec_" or wrong not in answer.text
    assert (await api.admin.post("/tenant/nobody/webhook-secret")).status_code == 404
