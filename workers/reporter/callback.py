"""Calls a tenant's sync URL with its delivery reports; what the answer means is `answer.py`'s business.

Cut off by `asyncio.timeout` in a TLS handshake, httpx leaves the socket to the collector: its own, shorter
deadline for connecting closes it.
"""

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from mailproxy import __version__, signing, webhooks
from mailproxy.model import EventType, Instant, Seconds, public_pk
from mailproxy.records import ClientAuth
from mailproxy.reports import Report, TenantCall
from workers.reporter.answer import Answer

TOTAL: Seconds = 30.0
MOST_READ = 1 << 20

_NOT_DELIVERED = frozenset({EventType.ERROR, EventType.EXPIRED, EventType.CANCELLED})
_LATER = frozenset({EventType.DEFERRED, EventType.RETRY_AFTER_UNKNOWN})
_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": f"mailproxy/{__version__}",
}


class Caller:
    """The HTTP client of a reporter: one for the process, it keeps connections and no cookies.

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
    ) -> None:
        self.instance = instance
        self.fallback_url = fallback_url
        self.fallback_auth = fallback_auth or ClientAuth()
        self.total = total
        self._client = httpx.AsyncClient(
            headers=_HEADERS,
            timeout=httpx.Timeout(total, connect=total / 3),
            trust_env=False,
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            limits=httpx.Limits(max_connections=connections, keepalive_expiry=2.0),
        )

    async def call(self, call: TenantCall, reports: Sequence[Report]) -> Answer:
        """One POST with its whole answer, at most `total` seconds; every failure is an answer too."""
        url, auth = (self.fallback_url, self.fallback_auth) if call.url is None else (call.url, call.auth)
        if fault := _fault(url):
            return Answer(None, failure=fault)
        body = encode(call, reports, self.instance)
        signed = signature(call, reports, body, instance=self.instance, now=time.time())
        try:
            async with (
                asyncio.timeout(self.total),
                self._client.stream(
                    "POST", url or "", content=body, headers=signed, auth=_authorise(auth)
                ) as response,
            ):
                content, truncated = await _read(response)
        except TimeoutError:
            return Answer(None, failure=f"no complete answer within {self.total:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
            return Answer(None, failure=_cause(error))
        return Answer(response.status_code, dict(response.headers), content, truncated)

    async def aclose(self) -> None:
        await self._client.aclose()


async def _read(response: httpx.Response) -> tuple[bytes, bool]:
    """At most MOST_READ bytes of the body as sent, and whether there was more."""
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > MOST_READ:
            return bytes(content[:MOST_READ]), True
    return bytes(content), False


def _authorise(auth: ClientAuth) -> httpx.Auth | Callable[[httpx.Request], httpx.Request] | None:
    if auth.method == "basic":
        return httpx.BasicAuth(auth.user or "", auth.password or "")
    if auth.method != "bearer" or auth.token is None:
        return None
    header = f"Bearer {auth.token}"

    def bearer(request: httpx.Request) -> httpx.Request:
        request.headers["Authorization"] = header
        return request

    return bearer


def _fault(url: str | None) -> str | None:
    """What keeps a URL from being called at all; httpx would connect to port 99999 and raise a group."""
    try:
        parts = httpx.URL(url or "")
        usable = parts.scheme in ("http", "https") and bool(parts.host)
    except (httpx.InvalidURL, UnicodeError):
        usable = False
    if not usable:
        return "the sync URL is not an http:// or https:// address"
    return None if (parts.port or 80) <= 65535 else "the sync URL's port is not below 65536"


def _cause(error: Exception) -> str:
    """Only a transport's own words: other errors quote headers, and those hold secrets."""
    if isinstance(error, httpx.TransportError | OSError) and not isinstance(error, httpx.LocalProtocolError):
        return f"{type(error).__name__}: {error}"[:300]
    return type(error).__name__


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


def _where_relevant(report: Report) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if report.event_type in _LATER:
        told["deferred_reason"] = report.detail.reason or report.event_type.value
    if report.detail.refused:
        told["refused_recipients"] = [
            {"address": r.address, "code": r.code, "enhanced": r.enhanced, "text": r.text}
            for r in report.detail.refused
        ]
    if report.batch_code is not None:
        told["batch_code"] = report.batch_code
    return told
