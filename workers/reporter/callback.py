"""Calls a tenant's sync URL with its delivery reports; what the answer means is `answer.py`'s business."""

import hashlib
import json
import time
import uuid
from collections.abc import Sequence
from typing import Any

from mailproxy import __version__, authorization, signing, webhooks
from mailproxy.authorization import ClientAuth
from mailproxy.model import CERTIFIED, EventType, Instant, Seconds, public_pk
from mailproxy.reach import Reach
from mailproxy.reports import Report, TenantCall
from mailproxy.web import Unanswered, Web
from workers.reporter.answer import Answer

TOTAL: Seconds = 30.0
MOST_READ = 1 << 20

_NOT_DELIVERED = frozenset({EventType.ERROR, EventType.EXPIRED, EventType.CANCELLED})
_LATER = frozenset({EventType.DEFERRED, EventType.RETRY_AFTER_UNKNOWN})
_HEADERS = {
    "Accept": "application/json",
    "Content-Type": "application/json",
    "User-Agent": f"mailproxy/{__version__}",
}


class Caller:
    """What a reporter calls tenants with: one for the process.

    `fallback_url` with `fallback_auth` serves tenants that have no URL of their own.
    """

    def __init__(
        self,
        instance: int,
        *,
        fallback_url: str | None = None,
        fallback_auth: ClientAuth | None = None,
        total: Seconds = TOTAL,
        connections: int = 64,
        reach: Reach | None = None,
    ) -> None:
        self.instance = instance
        self.fallback_url = fallback_url
        self.fallback_auth = fallback_auth or ClientAuth()
        self.total = total
        self._web = Web(reach or Reach(), connect=total / 3, connections=connections)

    async def call(self, call: TenantCall, reports: Sequence[Report]) -> Answer:
        """One POST with its whole answer, at most `total` seconds; every failure is an answer too."""
        url, auth = (self.fallback_url, self.fallback_auth) if call.url is None else (call.url, call.auth)
        body = encode(call, reports, self.instance)
        signed = signature(call, reports, body, instance=self.instance, now=time.time())
        found = await self._web.exchange(
            "POST",
            url or "",
            headers={**_HEADERS, **signed, **authorization.headers(auth)},
            body=body,
            guarded=call.guarded,
            within=self.total,
            most=MOST_READ,
        )
        if isinstance(found, Unanswered):
            return Answer(None, failure=found.cause)
        return Answer(found.status, found.headers, found.body, found.truncated)

    async def aclose(self) -> None:
        await self._web.aclose()


def signature(
    call: TenantCall, reports: Sequence[Report], body: bytes, *, instance: int, now: Instant
) -> dict[str, str]:
    """The headers that sign `body`; the same events go under the same id again, an idle call has its own."""
    secrets = signing.active(call.webhook_secrets, now)
    if not secrets:
        return {}
    told = [report.event_id for report in reports] or [uuid.uuid4().int]
    digest = hashlib.sha256(f"{instance}|{call.tenant_pk}|{told}".encode()).hexdigest()
    return webhooks.sign(body, id=f"call_{digest[:32]}", at=now, secrets=secrets)


def encode(call: TenantCall, reports: Sequence[Report], instance: int) -> bytes:
    """The body of a call: `{"delivery_report": [item, …]}`, items in event order."""
    items = [item(call, report, instance) for report in reports]
    return json.dumps({"delivery_report": items}, separators=(",", ":")).encode()


def item(call: TenantCall, report: Report, instance: int) -> dict[str, Any]:
    """One event as CONTRACT §6 words it: times in whole seconds, `deferred_ts` when it was put off."""
    fields = _fields(call.tenant_id, report, instance)
    if call.report_format == "event":
        fields = {key: value for key, value in fields.items() if value is not None}
    return fields | _where_relevant(report)


def told(tenant_id: str, report: Report, instance: int) -> dict[str, Any]:
    """One event as a report words it to whoever listens without being called."""
    return _fields(tenant_id, report, instance) | _where_relevant(report)


def _fields(tenant_id: str, report: Report, instance: int) -> dict[str, Any]:
    when = int(report.event_ts)
    kind = report.event_type
    return {
        "id": report.client_id,
        "tenant_id": tenant_id,
        "pk": public_pk(instance, report.message_id),
        "account_id": report.account_id,
        "priority": int(report.priority),
        "sent_ts": when if kind is EventType.SENT else None,
        "error_ts": when if kind in _NOT_DELIVERED else None,
        "error": (report.detail.error or report.detail.reason or kind.value)
        if kind in _NOT_DELIVERED
        else None,
        "deferred_ts": when if kind in _LATER else None,
        "event_id": report.event_id,
        "event_type": kind.value,
        "event_ts": when,
    }


def _certified(report: Report) -> dict[str, Any]:
    """What a receipt of certified mail attests, in the reference's names and what it has not got."""
    receipt = report.detail.pec
    when = int(report.event_ts)
    if receipt is None:
        details: dict[str, Any] = {"error_reason": report.detail.error}
        return {"pec_event": report.event_type.value, "pec_ts": when, "pec_details": details}
    stated = when if receipt.at is None else int(receipt.at)
    details = {
        "type": receipt.type,
        "pec_timestamp": stated,
        "recipient": ", ".join(receipt.recipients) or None,
        "recipients": list(receipt.recipients) or None,
        "error_reason": receipt.error_reason or receipt.error,
        "provider": receipt.provider,
        "identifier": receipt.identifier,
        "signature": receipt.signature,
        "receipt": receipt.receipt,
    }
    told = {name: value for name, value in details.items() if value is not None}
    return {"pec_event": report.event_type.value, "pec_ts": stated, "pec_details": told}


def _where_relevant(report: Report) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if report.event_type in _LATER:
        told["deferred_reason"] = report.detail.reason or report.event_type.value
    if report.detail.refused:
        told["refused_recipients"] = [
            {"address": r.address, "code": r.code, "enhanced": r.enhanced, "text": r.text}
            for r in report.detail.refused
        ]
    if report.event_type in (EventType.BOUNCE, EventType.COMPLAINT):
        told |= _bounce(report)
    if report.event_type in CERTIFIED:
        told |= _certified(report)
    if report.batch_code is not None:
        told["batch_code"] = report.batch_code
    return told


def _bounce(report: Report) -> dict[str, Any]:
    """Of a bounce or complaint: whom it is of, and whether it proved to be about this message."""
    detail = report.detail
    fields: dict[str, Any] = {"recipient": detail.recipient, "verified": detail.verified}
    if report.event_type is EventType.BOUNCE:
        fields |= {
            "bounce_ts": int(report.event_ts),
            "bounce_type": detail.bounce_type,
            "bounce_code": detail.bounce_code,
            "bounce_reason": detail.bounce_reason,
        }
    return fields
