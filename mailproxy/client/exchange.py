"""Calls without I/O: a call is a generator that asks for requests and pauses, and returns its result.

Whoever drives it (`drivers.py`) does what it asks for; when to try again is decided in `patience.py`.
"""

import json
import random
import time
import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

from mailproxy.client import patience
from mailproxy.client.answers import Page
from mailproxy.client.errors import AnswerLost, ApiError, ClientError, UnexpectedAnswer, Unreachable, refusal
from mailproxy.client.patience import Patience
from mailproxy.model import Instant, Seconds

T = TypeVar("T")

_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is below the server's URL; what is None in `query` is left out.

    `is_json`: so is the answer, which else is octets. `repeatable`: done twice it has the effect of once, so it may
    be sent again when its answer was lost.
    """

    method: str
    path: str
    query: Mapping[str, object] = field(default_factory=dict)
    body: Mapping[str, object] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    is_json: bool = True

    @property
    def parameters(self) -> dict[str, str]:
        return {name: _written(value) for name, value in self.query.items() if value is not None}

    @property
    def content(self) -> bytes | None:
        if self.body is None:
            return None
        return json.dumps(self.body, separators=(",", ":"), allow_nan=False).encode("ascii")


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: Seconds


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NoReply:
    """Nothing came back; `sent`: the server may have got the request nevertheless."""

    cause: str
    sent: bool


Steps = Generator[Request | Pause, Reply | NoReply | None, T]


@dataclass(frozen=True, slots=True)
class Context:
    """What every call of a client has: the tenant it works for, its patience, time and chance."""

    tenant_id: str | None = None
    patience: Patience = field(default_factory=Patience)
    clock: Callable[[], Instant] = time.monotonic
    chance: Callable[[], float] = random.random
    new_id: Callable[[], str] = lambda: str(uuid.uuid4())

    def tenant(self, tenant_id: str | None) -> str | None:
        """The tenant a call is about: as named, else the client's own."""
        return self.tenant_id if tenant_id is None else tenant_id


def ask(context: Context, request: Request) -> Steps[Any]:
    """The decoded answer, after as many attempts as it is worth; raises ClientError."""
    attempt, was_lost = 0, False
    while True:
        attempt += 1
        reply = yield request
        assert isinstance(reply, Reply | NoReply), "a driver answers each request"
        outcome = _decoded(request, reply)
        if not isinstance(outcome, ClientError):
            return outcome
        if was_lost and request.method == "DELETE" and _says_missing(outcome):
            return {"ok": True}
        delay = patience.delay(
            outcome,
            attempt,
            repeatable=request.repeatable,
            chance=context.chance(),
            patience=context.patience,
        )
        if delay is None:
            raise outcome
        was_lost = was_lost or isinstance(outcome, AnswerLost)
        yield Pause(delay)


def every(part: Callable[[str | None], Steps[Page[T]]], most: int | None = None) -> Steps[list[T]]:
    """All items of a list, or the first `most`: `part` asks for the page that a cursor leads to."""
    found: list[T] = []
    cursor = None
    while most is None or len(found) < most:
        page = yield from part(cursor)
        found += page.items
        cursor = page.cursor
        if cursor is None:
            break
    return found[:most]


def present(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields that are given."""
    return {name: value for name, value in fields.items() if value is not None}


def path(*parts: str) -> str:
    """A path whose parts are ids: nothing in them has a meaning of its own there."""
    return "".join(f"/{_segment(part)}" for part in parts)


def _segment(part: str) -> str:
    quoted = quote(part, safe="")
    return quoted if part.strip(".") else quoted.replace(".", "%2E")


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _decoded(request: Request, reply: Reply | NoReply) -> Any:
    """The answer's JSON, or what went wrong as a value."""
    what = f"{request.method} {request.path}"
    if isinstance(reply, NoReply):
        kind = AnswerLost if reply.sent else Unreachable
        return kind(f"{what}: {reply.cause}")
    if 200 <= reply.status < 300 and not request.is_json:
        return reply.body
    try:
        said = json.loads(reply.body)
    except (ValueError, RecursionError):
        said = None
    if 200 <= reply.status < 300 and isinstance(said, dict):
        return said
    if reply.status < 400:
        shown = reply.headers.get("location") or reply.body[:_SHOWN].decode("utf-8", "replace")
        return UnexpectedAnswer(
            f"{what} answered {reply.status}, no JSON object: {shown!r}. Is this the server's URL?"
        )
    return refusal(reply.status, said, reply.headers, reply.body[:_SHOWN].decode("utf-8", "replace"))


def _says_missing(outcome: ClientError) -> bool:
    return isinstance(outcome, ApiError) and outcome.code.endswith("not_found")
