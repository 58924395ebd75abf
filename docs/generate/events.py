"""events.md: every type of event, its fields, and the item of a delivery report it becomes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from docs.generate.markdown import NOTE, block, code, table
from mailproxy import shapes
from mailproxy.model import (
    CertifiedDetail,
    EventDetail,
    EventType,
    MessageId,
    Priority,
    RefusedRecipient,
    State,
)
from mailproxy.records import EventView
from mailproxy.reports import Report
from workers.reporter.callback import told

AT = 1_893_456_000.0
INSTANCE = 0xA1B2C3D4E5F6789
BUSY = "450 4.2.1 try again later"
GONE = RefusedRecipient("bob@example.org", 550, "5.1.1", "no such user")


@dataclass(frozen=True, slots=True)
class About:
    """What a type means, and an event of it."""

    meaning: str
    detail: EventDetail


def _receipt(kind: str, number: int, **more: str) -> EventDetail:
    return EventDetail(
        pec=CertifiedDetail(
            type=kind,
            receipt=number,
            signature="verified",
            at=AT,
            recipients=("bob@pec.example.org",),
            provider="Gestore PEC S.p.A.",
            identifier="opec1@pec.example",
            **more,
        )
    )


TYPES: Mapping[EventType, About] = {
    EventType.SENT: About(
        "A server took the message, for every recipient but those in `refused_recipients`. Only bounces,"
        " complaints and receipts may follow.",
        EventDetail(attempt=1, code=250, enhanced="2.0.0", reply="queued", refused=(GONE,)),
    ),
    EventType.ERROR: About(
        "The message was given up: refused for good, out of retries, or rejected at the door. It is the last event.",
        EventDetail(
            attempt=1, error="no such user (SMTP 550)", code=550, enhanced="5.1.1", reply="no such user"
        ),
    ),
    EventType.DEFERRED: About(
        "The message is tried again, not before `deferred_until`. Where servers accepted some of its recipients,"
        " `refused_recipients` names those that have not got it.",
        EventDetail(
            attempt=1,
            reason="temporary_failure",
            error=BUSY,
            code=450,
            enhanced="4.2.1",
            reply="try again later",
            deferred_until=AT + 60.0,
        ),
    ),
    EventType.UNKNOWN: About(
        "Nobody can tell whether a server took the message, and its account says `on_unknown_outcome: hold`."
        " It waits for `POST /messages/{id}/resolve`.",
        EventDetail(attempt=1, error="The connection broke before the reply to the final dot was read"),
    ),
    EventType.RETRY_AFTER_UNKNOWN: About(
        "Nobody can tell whether a server took the message, and its account says `retry`: it is handed over"
        " again, so a recipient may get it twice.",
        EventDetail(
            attempt=1,
            reason="temporary_failure",
            error="The connection broke before the reply to the final dot was read",
            deferred_until=AT + 60.0,
        ),
    ),
    EventType.CANCELLED: About(
        "Somebody cancelled the message before its hand-over began. It is the last event.", EventDetail()
    ),
    EventType.EXPIRED: About(
        "The message's `expires_at`, `max_age` or `GMP_MESSAGE_MAX_AGE` passed before it could be sent. It is the"
        " last event.",
        EventDetail(error="Expired before it could be sent"),
    ),
    EventType.BOUNCE: About(
        "A mail came back that tells about a recipient of the message. `hard`: the address or server will not take"
        " mail; `soft`: it did not for now.",
        EventDetail(
            recipient="bob@example.org",
            bounce_type="hard",
            bounce_code="5.1.1",
            bounce_reason="no such user",
            verified=True,
        ),
    ),
    EventType.COMPLAINT: About(
        "A recipient told his provider that the message was unwanted.",
        EventDetail(recipient="bob@example.org", verified=True),
    ),
    EventType.PEC_ACCEPTANCE: About(
        "The PEC provider of the sender has accepted the message: the legal proof that it was sent.",
        _receipt("accettazione", 1),
    ),
    EventType.PEC_RELAY: About(
        "The PEC provider of a recipient has taken the message in charge.", _receipt("presa-in-carico", 2)
    ),
    EventType.PEC_DELIVERY: About(
        "The message lies in a recipient's mailbox: the legal proof that it was delivered.",
        _receipt("avvenuta-consegna", 3),
    ),
    EventType.PEC_WARNING: About(
        "The message could not be delivered for twelve hours. It is not the end: delivery or failure still follows.",
        _receipt("preavviso-errore-consegna", 2),
    ),
    EventType.PEC_ERROR: About(
        "A provider has refused the message, could not deliver it, or found malware in it.",
        _receipt("errore-consegna", 2, error="no-dest", error_reason="5.1.1 unknown mailbox"),
    ),
    EventType.PEC_TIMEOUT: About(
        "No acceptance came within `GMP_PEC_ACCEPTANCE_TIMEOUT` of the sending. A later one is still reported.",
        EventDetail(error="no acceptance by the PEC provider came in time"),
    ),
}
_FIELDS = {
    "recipient": "The recipient whom it is about.",
    "bounce_type": "`hard` or `soft`.",
    "bounce_code": "The enhanced status code, or the reply code.",
    "bounce_reason": "The text of the server that refused it.",
    "pec": "What a receipt of certified mail says: its `type` and times in the provider's words.",
    "verified": "The mail that told carries the proof that only the sent message had.",
}
_HEAD = f"""\
# Events and delivery reports

{NOTE.format("`mailproxy/model.py` and the reporter")}
Whatever becomes of a message is an event, committed together with the change it tells of.
`GET /messages/{{id}}/events` lists those of a message; each is also POSTed to the tenant's `client_base_url` +
`client_sync_path` as an item of `{{"delivery_report": [item, …]}}` until the tenant takes it. How an endpoint verifies
and answers: [concepts](concepts.md#reports), [the Python client](client.md#receiving-delivery-reports),
[examples](integrations.md).

An item always has `id`, `tenant_id`, `pk`, `account_id`, `priority`, `sent_ts`, `error_ts`, `error`, `deferred_ts`,
`event_id`, `event_type` and `event_ts`, null where empty, and other fields where they say something. A tenant with
`report_format: "event"` gets no nulls. An event that is told again has the same `event_id`.

"""


def text(document: str) -> str:
    """The page; what the fields mean is told by the OpenAPI document."""
    told = json.loads(document)["components"]["schemas"]["EventData"]["properties"]
    if missing := set(EventType) - TYPES.keys():
        raise ValueError(f"docs/generate/events.py: TYPES says nothing about {sorted(missing)}")
    parts = [
        _HEAD,
        "## Types\n\n",
        table(("type", "meaning"), ((code(k), TYPES[k].meaning) for k in EventType)),
    ]
    parts += ["## What an event says\n\n", "`event_data` has those of these fields that are not empty.\n\n"]
    parts.append(table(("field", "meaning"), _fields(told)))
    parts += [_example(kind) for kind in EventType]
    parts += ["## States of a message\n\n", _states()]
    return "".join(parts)


def _fields(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in asdict(EventDetail()):
        yield code(name), told.get(name, {}).get("description") or _FIELDS[name]


def _example(kind: EventType) -> str:
    detail = TYPES[kind].detail
    view = EventView(event_id=4711, event_type=kind, event_ts=AT, detail=detail, reported=True)
    report = Report(4711, kind, AT, MessageId(1001), "order-1002", "main", Priority.HIGH, "orders", detail)
    item: dict[str, Any] = told("acme", report, INSTANCE)
    return (
        f"## `{kind.value}`\n\n{TYPES[kind].meaning}\n\nAs an event of the message:\n\n{block(shapes.event(view))}"
        f"As an item of a report:\n\n{block(item)}"
    )


_STATES: Mapping[State, str] = {
    State.PENDING: "It goes as soon as its account has a connection and its limits have room.",
    State.DEFERRED: "It goes at `deferred_ts` or later: as was asked for, after a failure, or when a limit has room.",
    State.SENDING: "It is being handed over right now.",
    State.SUSPENDED: "Its tenant, its batch or the whole scheduler is suspended.",
    State.SENT: "A server took it.",
    State.ERROR: "It was given up.",
    State.UNKNOWN: "Nobody knows whether a server took it; somebody decides.",
    State.CANCELLED: "It was cancelled.",
    State.EXPIRED: "It was not sent in time.",
}


def _states() -> str:
    return table(("status", "meaning"), ((code(one.value), _STATES[one]) for one in State))
