"""What a tenant's answer to a callback means: pure policy, `callback.py` beside it does the talking.

CONTRACT §6 "Answer" decides; nothing a client sends may raise or reach another tenant.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from mailproxy.model import Instant, Seconds
from mailproxy.reports import Held

MOST_QUEUED = 1_000_000
LONGEST_MUTE: Seconds = 24 * 3600.0
LONGEST_RETRY_AFTER: Seconds = 3600.0
NAMED = "named in error"
GONE_FOR_GOOD = 10
TOO_LARGE = 413
MAY_BE_ONE_EVENTS = frozenset({400, 409, TOO_LARGE, 415, 422, 500})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `status` None: no complete answer came, `failure` says why.

    `headers` have lower-case names; `truncated`: the body went on after what was read of it.
    """

    status: int | None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    truncated: bool = False
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """One event of the call: the id to acknowledge, the client's message id the answer speaks of, and how often
    the event was refused by itself."""

    event_id: int
    client_id: str
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a tenant is called again: after failures, and at the fastest; `longest_alone` is an event's that
    is refused by itself. After `many` events in a call the next ones are gathered for `gather` seconds: calls at
    a steady pace cost what their number costs, whoever reports a thousand events a second."""

    first: Seconds = 5.0
    longest: Seconds = 300.0
    longest_alone: Seconds = 3600.0
    floor: Seconds = 1.0
    most_items: int = 1000
    many: int = 10
    gather: Seconds = 0.25


@dataclass(frozen=True, slots=True)
class Standing:
    """What is remembered of a tenant between its calls: failures in a row, how many of them were 410 without
    anything else between, and how many items it takes in one call."""

    fails: int = 0
    gone: int = 0
    batch: int = 1000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to acknowledge, and when and how to call next.

    `held` events were refused by themselves and wait each for its time; `next_in` None leaves the next call to
    events and interval; `failure` says why the call as a whole acknowledges nothing.
    """

    standing: Standing
    acknowledged: tuple[int, ...] = ()
    held: tuple[Held, ...] = ()
    not_found: tuple[str, ...] = ()
    queued: int = 0
    muted_until: Instant | None = None
    next_in: Seconds | None = None
    switch_off: str | None = None
    failure: str | None = None


def judge(
    answer: Answer,
    sent: Sequence[Sent],
    standing: Standing,
    *,
    strict: bool,
    now: Instant,
    chance: float,
    pace: Pace,
) -> Verdict:
    """Decide on one call. `chance` is a random number in [0, 1); `strict` demands a JSON object of a 2xx."""
    if answer.status is None or not 200 <= answer.status < 300:
        return _rejected(answer, sent, standing, now=now, chance=chance, pace=pace)
    said = None if answer.truncated else _json_object(answer.body)
    if said is None and strict:
        return _failed("answer is not a JSON object", standing, chance=chance, pace=pace)
    said = said or {}
    if said.get("ok") is False:
        return _failed("answer says ok: false", standing, chance=chance, pace=pace)
    return _accepted(said, sent, standing, now=now, chance=chance, pace=pace)


def _accepted(
    said: Mapping[str, Any],
    sent: Sequence[Sent],
    standing: Standing,
    *,
    now: Instant,
    chance: float,
    pace: Pace,
) -> Verdict:
    refused = _texts(said.get("error"))
    unknown = _texts(said.get("not_found")) - refused
    acknowledged = tuple(s.event_id for s in sent if s.client_id not in refused)
    named = [s for s in sent if s.client_id in refused]
    queued = _count(said.get("queued"))
    fails = 0 if acknowledged or not named else standing.fails + any(s.tries == 0 for s in named)
    next_in = _back_off(fails, chance=chance, pace=pace) if fails > standing.fails else None
    return Verdict(
        standing=Standing(fails, 0, min(pace.most_items, standing.batch * 2)),
        acknowledged=acknowledged,
        held=tuple(Held(s.event_id, _alone(s, chance=chance, pace=pace), NAMED) for s in named),
        not_found=tuple(sorted({s.client_id for s in sent} & unknown)),
        queued=queued,
        muted_until=_mute(said.get("next_sync_after"), now),
        next_in=pace.floor
        if queued
        else next_in or (pace.gather if len(acknowledged) >= pace.many else None),
    )


def _rejected(
    answer: Answer, sent: Sequence[Sent], standing: Standing, *, now: Instant, chance: float, pace: Pace
) -> Verdict:
    cause = answer.failure or f"HTTP status {answer.status}"
    if answer.status == TOO_LARGE and len(sent) > 1:
        smaller = Standing(standing.fails, 0, max(1, len(sent) // 2))
        return Verdict(smaller, next_in=pace.floor, failure=cause)
    gone = standing.gone + 1 if answer.status == 410 else 0
    switch_off = f"HTTP status 410 {gone} times in a row" if gone >= GONE_FOR_GOOD else None
    asked = _retry_after(answer.headers.get("retry-after"), now)
    next_in = None if asked is None else min(LONGEST_RETRY_AFTER, max(pace.floor, asked))
    failed = _failed(
        cause, standing, chance=chance, pace=pace, gone=gone, next_in=next_in, switch_off=switch_off
    )
    if answer.status not in MAY_BE_ONE_EVENTS or not sent:
        return failed
    return _searched(failed, cause, sent, chance=chance, pace=pace)


def _searched(failed: Verdict, cause: str, sent: Sequence[Sent], *, chance: float, pace: Pace) -> Verdict:
    """One event may spoil the call for all: ever smaller calls find it, and then the next one gets its turn."""
    if len(sent) > 1:
        return replace(failed, standing=replace(failed.standing, batch=max(1, len(sent) // 10)))
    wait = _alone(sent[0], chance=chance, pace=pace)
    behind_others = 2 * (failed.next_in or 0.0)
    return replace(failed, held=(Held(sent[0].event_id, max(wait, behind_others), cause),))


def _failed(
    cause: str,
    standing: Standing,
    *,
    chance: float,
    pace: Pace,
    gone: int = 0,
    next_in: Seconds | None = None,
    switch_off: str | None = None,
) -> Verdict:
    fails = standing.fails + 1
    return Verdict(
        standing=Standing(fails, gone, standing.batch),
        next_in=_back_off(fails, chance=chance, pace=pace) if next_in is None else next_in,
        switch_off=switch_off,
        failure=cause,
    )


def _back_off(fails: int, *, chance: float, pace: Pace) -> Seconds:
    return _doubled(fails, pace.first, pace.longest, chance)


def _alone(event: Sent, *, chance: float, pace: Pace) -> Seconds:
    return _doubled(event.tries + 1, pace.first, pace.longest_alone, chance)


def _doubled(times: int, first: Seconds, longest: Seconds, chance: float) -> Seconds:
    return min(longest, first * 2.0 ** min(times - 1, 30)) * (0.8 + 0.4 * chance)


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _texts(said: object) -> frozenset[str]:
    return frozenset(x for x in said if isinstance(x, str)) if isinstance(said, list) else frozenset()


def _number(said: object) -> float | None:
    """A finite JSON number; true and false are none, and an integer may be too great for a float."""
    if isinstance(said, bool) or not isinstance(said, int | float):
        return None
    try:
        value = float(said)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def _count(said: object) -> int:
    value = _number(said)
    return 0 if value is None else int(min(MOST_QUEUED, max(0.0, value)))


def _mute(said: object, now: Instant) -> Instant | None:
    value = _instant(said) if isinstance(said, str) else _number(said)
    return None if value is None or value <= now else min(value, now + LONGEST_MUTE)


def _instant(text: str) -> Instant | None:
    """RFC 3339; a time without an offset names no instant."""
    try:
        value = datetime.fromisoformat(text)
        return None if value.tzinfo is None else value.timestamp()
    except (ValueError, OverflowError):
        return None


def _retry_after(header: str | None, now: Instant) -> Seconds | None:
    """RFC 9110 §10.2.3: seconds or an HTTP date."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
