"""The receiving side of delivery reports: who sent them is verified before they are read."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailproxy import webhooks
from mailproxy.client.answers import RefusedRecipient
from mailproxy.client.errors import UnexpectedAnswer
from mailproxy.client.reading import each as _each
from mailproxy.client.reading import many
from mailproxy.client.reading import raw as _raw
from mailproxy.model import Instant


@dataclass(frozen=True, slots=True)
class Report:
    """One event of one message. It may come twice, with the same `event_id`."""

    id: str
    event_id: int | None = None
    event_type: str | None = None
    event_ts: float | None = None
    tenant_id: str | None = None
    pk: str | None = None
    account_id: str | None = None
    priority: int | None = None
    batch_code: str | None = None
    sent_ts: float | None = None
    error_ts: float | None = None
    error: str | None = None
    deferred_ts: float | None = None
    deferred_reason: str | None = None
    refused_recipients: Sequence[RefusedRecipient] = _each(RefusedRecipient)
    recipient: str | None = None
    verified: bool | None = None
    bounce_ts: float | None = None
    bounce_type: str | None = None
    bounce_code: str | None = None
    bounce_reason: str | None = None
    raw: Mapping[str, Any] = _raw()


def reports_in(
    body: bytes, headers: Mapping[str, str], secrets: str | Sequence[str], *, now: Instant | None = None
) -> list[Report]:
    """The reports in a call to the sync URL that was signed with one of the tenant's active webhook secrets.

    `body` is what came over the wire. Raises `webhooks.SignatureRefused`: answer 401 and believe nothing.
    """
    webhooks.verify(body, headers, secrets, now=time.time() if now is None else now)
    return read_reports(body)


def read_reports(body: bytes) -> list[Report]:
    """The reports in a call whose sender is known in another way; raises UnexpectedAnswer."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswer(f"The call is no JSON: {error}") from error
    if not isinstance(said, dict) or not isinstance(said.get("delivery_report"), list):
        raise UnexpectedAnswer("The call holds no delivery_report")
    return many(Report, said["delivery_report"])
