"""The main job on both databases: posted over HTTP, handed over by a sender process, reported to the tenant."""

import asyncio
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

from mailproxy.demo.endpoint import Request
from tests.process.peers import SmtpServer, TenantEndpoint, letters
from tests.process.service import Service, until
from tests.support.tenant import Endpoint


def test_a_message_goes_out_and_its_report_comes_back(
    service: Service, tenant: str, smtp: SmtpServer, endpoint: TenantEndpoint
) -> None:
    (id_,) = service.post(letters(tenant, "main", range(1)))
    until(lambda: endpoint.ids(tenant, "sent"), so=service.last_words)
    assert smtp.times(tenant) == {id_: 1}
    record = _until_reported(service, tenant, id_)
    assert record["status"] == "sent"
    assert record["sent_ts"] <= record["reported_ts"]
    assert [event["event_type"] for event in _events(service, tenant, id_)] == ["sent"]


def test_451_three_times_then_250_is_one_delivery_after_four_attempts(
    service: Service, tenant: str, smtp: SmtpServer, endpoint: TenantEndpoint
) -> None:
    (id_,) = service.post(letters(tenant, "main", range(1), to="defer451x3@example.com"))
    until(lambda: endpoint.ids(tenant, "sent"), so=service.last_words)
    assert smtp.times(tenant) == {id_: 1}
    kinds = ["deferred", "deferred", "deferred", "sent"]
    assert [event["event_type"] for event in _events(service, tenant, id_)] == kinds
    assert [told.kind for told in endpoint.told(tenant)] == kinds
    assert service.messages(tenant)[id_]["attempts"] == 4


def test_a_refused_recipient_is_an_error_at_once_and_reported(
    service: Service, tenant: str, smtp: SmtpServer, endpoint: TenantEndpoint
) -> None:
    (id_,) = service.post(letters(tenant, "main", range(1), to="refuse550@example.com"))
    until(lambda: endpoint.told(tenant), so=service.last_words)
    (told,) = endpoint.told(tenant)
    assert (told.id, told.kind) == (id_, "error")
    assert told.item["error"].endswith("(SMTP 550)")
    record = _until_reported(service, tenant, id_)
    assert (record["status"], record["attempts"]) == ("error", 1)
    assert smtp.times(tenant) == {}


def test_of_two_recipients_one_refused_the_message_is_sent_and_the_refusal_reported(
    service: Service, tenant: str, smtp: SmtpServer, endpoint: TenantEndpoint
) -> None:
    (id_,) = service.post(letters(tenant, "main", range(1), to="bob@example.com, refuse550@example.com"))
    until(lambda: endpoint.told(tenant), so=service.last_words)
    (delivery,) = smtp.deliveries(tenant)
    assert (delivery.id, delivery.rcpts) == (id_, ("bob@example.com",))
    (told,) = endpoint.told(tenant)
    assert told.kind == "sent"
    for refused in (told.item["refused_recipients"], service.messages(tenant)[id_]["refused_recipients"]):
        assert [(one["address"], one["code"]) for one in refused] == [("refuse550@example.com", 550)]


async def test_calls_are_signed_through_a_change_of_secrets(
    service: Service, tenant: str, tmp_path: Path
) -> None:
    async with Endpoint(tmp_path / "calls") as endpoint:
        former, new = await asyncio.to_thread(_change_secrets, service, tenant, endpoint)
    first, last = (_telling(endpoint, f"{tenant}-main-{number}") for number in range(2))
    Webhook(former).verify(first.body, dict(first.headers))
    for secret in (former, new):
        Webhook(secret).verify(last.body, dict(last.headers))


def _telling(endpoint: Endpoint, id_: str) -> Request:
    """The first call that told of this message."""
    return next(one for one in endpoint.requests if id_.encode() in one.body)


def _change_secrets(service: Service, tenant: str, endpoint: Endpoint) -> tuple[str, str]:
    """One message is reported under the first secret, one while both are active."""
    service.call("PUT", f"/tenant/{tenant}", {"client_base_url": endpoint.url})
    secrets = []
    for number in range(2):
        made = service.call("POST", f"/tenant/{tenant}/webhook-secret")
        secrets.append(str(made["webhook_secret"]))
        service.post(letters(tenant, "main", range(number, number + 1)))
        id_ = f"{tenant}-main-{number}"
        until(lambda id_=id_: id_ in {item["id"] for item in endpoint.items()}, so=service.last_words)
    return secrets[0], secrets[1]


def _until_reported(service: Service, tenant: str, id_: str) -> dict[str, Any]:
    until(lambda: "reported_ts" in service.messages(tenant)[id_])
    return service.messages(tenant)[id_]


def _events(service: Service, tenant: str, id_: str) -> list[dict[str, Any]]:
    return list(service.call("GET", f"/messages/{id_}/events", tenant_id=tenant)["events"])


def test_a_suppressed_recipient_gets_nothing_and_the_report_names_it(
    service: Service, tenant: str, smtp: SmtpServer, endpoint: TenantEndpoint
) -> None:
    service.call("POST", "/suppressions", {"address": "Gone@example.com"}, tenant_id=tenant)
    (one,) = letters(tenant, "main", range(1), to="bob@example.com, gone@example.com")
    (forced,) = letters(tenant, "main", range(1, 2), to="gone@example.com", ignore_suppressions=True)
    service.post([one, forced])
    until(lambda: len(endpoint.ids(tenant, "sent")) == 2, so=service.last_words)
    assert {delivery.id: delivery.rcpts for delivery in smtp.deliveries(tenant)} == {
        one["id"]: ("bob@example.com",),
        forced["id"]: ("gone@example.com",),
    }
    told = {report.id: report.item.get("refused_recipients") for report in endpoint.told(tenant)}
    text = "recipient_suppressed: manual"
    refused = {"address": "gone@example.com", "code": 550, "enhanced": "5.7.1", "text": text}
    assert told == {one["id"]: [refused], forced["id"]: None}
