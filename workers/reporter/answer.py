"""What a tenant's answer to a callback means: pure policy, `callback.py` beside it does the talking.

CONTRACT §6 "Answer" decides; nothing a client sends may raise or reach another tenant.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from mailproxy.model import Instant, Seconds

MOST_QUEUED = 1_000_000
LONGEST_MUTE: Seconds = 24 * 3600.0
LONGEST_RETRY_AFTER: Seconds = 3600.0
GONE_FOR_GOOD = 5


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
    """One event of the call: the id to acknowledge and the client's message id the answer speaks of."""

    event_id: int
    client_id: str


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a tenant is called again: after failures, and at the fastest."""

    first: Seconds = 5.0
    longest: Seconds = 300.0
    floor: Seconds = 1.0
    most_items: int = 1000


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

    `held` events were refused by name and wait; `next_in` None leaves the next call to events and interval;
    `failure` says why the call as a whole acknowledges nothing.
    """

    standing: Standing
    acknowledged: tuple[int, ...] = ()
    held: tuple[int, ...] = ()
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
        return _rejected(answer, len(sent), standing, now=now, chance=chance, pace=pace)
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
    held = tuple(s.event_id for s in sent if s.client_id in refused)
    queued = _count(said.get("queued"))
    fails = standing.fails + 1 if held and not acknowledged else 0
    next_in = pace.floor if queued else None
    if held:
        wait = _back_off(max(fails, 1), chance=chance, pace=pace)
        next_in = wait if next_in is None else min(wait, next_in)
    return Verdict(
        standing=Standing(fails, 0, min(pace.most_items, standing.batch * 2)),
        acknowledged=acknowledged,
        held=held,
        not_found=tuple(sorted({s.client_id for s in sent} & unknown)),
        queued=queued,
        muted_until=_mute(said.get("next_sync_after"), now),
        next_in=next_in,
    )


def _rejected(
    answer: Answer, items: int, standing: Standing, *, now: Instant, chance: float, pace: Pace
) -> Verdict:
    cause = answer.failure or f"HTTP status {answer.status}"
    if answer.status == 413 and items > 1:
        smaller = Standing(standing.fails, 0, max(1, items // 2))
        return Verdict(smaller, next_in=pace.floor, failure=cause)
    gone = standing.gone + 1 if answer.status == 410 else 0
    switch_off = f"HTTP status 410 {gone} times in a row" if gone >= GONE_FOR_GOOD else None
    asked = _retry_after(answer.headers.get("retry-after"), now)
    next_in = None if asked is None else min(LONGEST_RETRY_AFTER, max(pace.floor, asked))
    return _failed(
        cause, standing, chance=chance, pace=pace, gone=gone, next_in=next_in, switch_off=switch_off
    )


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
    doubled = pace.first * 2.0 ** min(fails - 1, 30)
    return min(pace.longest, doubled) * (0.8 + 0.4 * chance)


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
