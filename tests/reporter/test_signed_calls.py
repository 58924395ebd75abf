"""Calls to a tenant are signed, byte for byte, as somebody else's verifier demands."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from mailproxy import webhooks
from mailproxy.authorization import ClientAuth
from mailproxy.model import EventDetail, EventType, MessageId, Priority, TenantPk
from mailproxy.reports import Report, TenantCall
from mailproxy.signing import SigningSecret
from tests.reporter.conftest import SignUp, reporting, until
from tests.support.tenant import Endpoint, Manners
from workers.reporter.callback import Caller

NEW, OLD = webhooks.new_secret(), webhooks.new_secret()
Calling = Callable[..., Any]


def report(event_id: int) -> Report:
    return Report(
        event_id,
        EventType.SENT,
        1_800_000_000.5,
        MessageId(42),
        "mß-1",
        "smtp",
        Priority.HIGH,
        None,
        EventDetail(),
    )


@pytest.fixture
async def endpoint(tmp_path: Path) -> AsyncIterator[Endpoint]:
    async with Endpoint(tmp_path / "calls") as endpoint:
        yield endpoint


@pytest.fixture
async def call(endpoint: Endpoint) -> AsyncIterator[Calling]:
    """Call the endpoint once: `await call(secrets, event ids…)`."""
    caller = Caller(0x123456789ABCDEF)

    async def once(secrets: tuple[SigningSecret, ...], *events: int, **fields: Any) -> None:
        plain = TenantCall(TenantPk(1), "acme", f"{endpoint.url}/sync", ClientAuth(), 0, False, "item")
        told = replace(plain, webhook_secrets=secrets, **fields)
        await caller.call(told, [report(event_id) for event_id in events])

    yield once
    await caller.aclose()


def verified(endpoint: Endpoint, secret: str) -> Any:
    request = endpoint.requests[-1]
    return Webhook(secret).verify(request.body, dict(request.headers))


async def test_the_bytes_on_the_wire_are_what_is_signed(endpoint: Endpoint, call: Calling) -> None:
    await call((SigningSecret(NEW),), 1, 2, auth=ClientAuth("bearer", token="t"))
    assert [item["event_id"] for item in verified(endpoint, NEW)["delivery_report"]] == [1, 2]
    assert endpoint.requests[-1].headers["authorization"] == "Bearer t"
    with pytest.raises(WebhookVerificationError):
        verified(endpoint, OLD)


async def test_both_secrets_verify_until_the_former_one_ends(endpoint: Endpoint, call: Calling) -> None:
    await call((SigningSecret(NEW), SigningSecret(OLD, time.time() + 60)), 1)
    assert verified(endpoint, NEW) == verified(endpoint, OLD)
    await call((SigningSecret(NEW), SigningSecret(OLD, time.time() - 1)), 1)
    verified(endpoint, NEW)
    with pytest.raises(WebhookVerificationError):
        verified(endpoint, OLD)


async def test_the_same_events_go_under_the_same_id(endpoint: Endpoint, call: Calling) -> None:
    for events in ((1, 2), (1, 2), (1, 2, 3), (), ()):
        await call((SigningSecret(NEW),), *events)
    ids = [request.headers["webhook-id"] for request in endpoint.requests]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4


async def test_another_tenant_has_other_ids(endpoint: Endpoint, call: Calling) -> None:
    await call((SigningSecret(NEW),), 1)
    await call((SigningSecret(NEW),), 1, tenant_pk=TenantPk(2))
    assert len({request.headers["webhook-id"] for request in endpoint.requests}) == 2


async def test_without_a_secret_nothing_is_signed(endpoint: Endpoint, call: Calling) -> None:
    await call((), 1)
    await call((SigningSecret(OLD, time.time() - 1),), 1)
    assert not any(name.startswith("webhook-") for one in endpoint.requests for name in one.headers)


async def test_a_stored_secret_signs_every_attempt(sign_up: SignUp) -> None:
    acme = await sign_up("acme", Manners(status=503), Manners(), webhook_secrets=(SigningSecret(NEW),))
    await acme.happens("m1")
    async with reporting(acme.store):
        await until(acme.is_told_everything)
    first, second = acme.endpoint.requests[:2]
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    for request in (first, second):
        Webhook(NEW).verify(request.body, dict(request.headers))
