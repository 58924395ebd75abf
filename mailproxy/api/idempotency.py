"""`Idempotency-Key`: which calls are the same, what is said again, and what is refused."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mailproxy.api.answers import Answer, Json
from mailproxy.api.refusals import Refusal
from mailproxy.api.routing import Call
from mailproxy.once import ADMIN, Kept, Ticket

HEADER = "Idempotency-Key"
REPLAYED = {"Idempotent-Replayed": "true"}
KEY = "[!-~]{1,255}"


def ticket(call: Call, body: bytes) -> Ticket | None:
    """The admin has one scope, whatever tenants its calls are for; each tenant has one of its own."""
    given = call.header(HEADER)
    if not given:
        return None
    if len(given) > 1 or not re.fullmatch(KEY, given[0]):
        text = f"{HEADER} must be 1 to 255 visible ASCII characters, given once"
        raise Refusal(400, text, "invalid_idempotency_key")
    principal = call.caller.principal
    scope = ADMIN if principal is None else principal.tenant_pk
    return Ticket(scope, given[0], hashlib.sha256(body).digest())


@contextmanager
def alone(call: Call, ticket: Ticket) -> Iterator[None]:
    """Refuse a second call under the same key for as long as the first one lasts in this process; at once, so
    without a word in the command log, where the first one is."""
    mine = (ticket.scope, ticket.key)
    if mine in call.services.in_flight:
        call.leave_out()
        raise in_flight()
    call.services.in_flight.add(mine)
    try:
        yield
    finally:
        call.services.in_flight.discard(mine)


def in_flight() -> Refusal:
    return Refusal(409, f"A call under this {HEADER} is under way", "idempotency_in_flight")


def replay(kept: Kept, ticket: Ticket) -> Answer:
    """What was answered, under the id of this request; refuses a call that sends something else."""
    if kept.fingerprint != ticket.fingerprint:
        text = f"This {HEADER} was used with another body: take a new key for a new call"
        raise Refusal(422, text, "idempotency_key_reused")
    said: dict[str, Any] = json.loads(kept.answer)
    if kept.status == 200:
        return Json(said, headers=REPLAYED)
    raise Refusal(kept.status, said["detail"], said["code"], REPLAYED)
