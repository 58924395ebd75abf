"""Rate limits, pure: sliding windows counted in slots (RELIABILITY §1.6).

A window of `slots` slots counts its oldest, partial slot whole and reaches back `SLACK` seconds further, so that
no sliding window at the server exceeds the limit as long as a dot follows its charge within `SLACK`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mailproxy.model import Instant, Seconds

SLACK: Seconds = 1.0
TENANT, ACCOUNT = 0, 1


class Scope(NamedTuple):
    """Whose limit it is (`kind` TENANT or ACCOUNT, and its pk) and which window."""

    kind: int
    pk: int
    window: str


@dataclass(frozen=True, slots=True)
class Limit:
    scope: Scope
    slot_s: Seconds
    slots: int
    limit: int

    def slot_at(self, at: Instant) -> int:
        return math.floor(at / self.slot_s)

    def oldest_counted(self, at: Instant) -> int:
        return math.floor((at - self.slot_s * self.slots - SLACK) / self.slot_s)

    def leaves_at(self, slot: int) -> Instant:
        """When `slot` is no longer counted."""
        return (slot + 1) * self.slot_s + self.slot_s * self.slots + SLACK


WINDOWS: Mapping[str, tuple[Seconds, int]] = {"minute": (5.0, 12), "hour": (300.0, 12), "day": (3600.0, 24)}

Used = Mapping[Scope, Mapping[int, int]]


def standard(kind: int, pk: int, limits: Mapping[str, int | None]) -> list[Limit]:
    """The limits a client configured; 0 and None both mean none (REFERENCE §16)."""
    return [Limit(Scope(kind, pk, name), *WINDOWS[name], value) for name, value in limits.items() if value]


def used_now(limit: Limit, used: Used, at: Instant) -> int:
    oldest = limit.oldest_counted(at)
    return sum(n for slot, n in used.get(limit.scope, {}).items() if slot >= oldest)


@dataclass(frozen=True, slots=True)
class Budget:
    """How many tokens are free; with none, `wait` is when the next one comes free."""

    tokens: int
    wait: Seconds | None = None


def budget(limits: Sequence[Limit], used: Used, at: Instant, wanted: int) -> Budget:
    tokens = wanted
    wait: Seconds = 0.0
    for limit in limits:
        free = limit.limit - used_now(limit, used, at)
        tokens = min(tokens, free)
        if free <= 0:
            wait = max(wait, next_token(limit, used, at))
    return Budget(tokens) if tokens > 0 else Budget(0, max(wait, 0.001))


def next_token(limit: Limit, used: Used, at: Instant) -> Seconds:
    """Seconds until enough counted slots have left for one token to be free."""
    oldest = limit.oldest_counted(at)
    excess = used_now(limit, used, at) - limit.limit + 1
    for slot, n in sorted(used.get(limit.scope, {}).items()):
        if slot < oldest:
            continue
        excess -= n
        if excess <= 0:
            return limit.leaves_at(slot) - at
    return 0.0


class Charge(NamedTuple):
    scope: Scope
    slot: int
    n: int


def charges(limits: Iterable[Limit], at: Instant, n: int) -> list[Charge]:
    return [Charge(limit.scope, limit.slot_at(at), n) for limit in limits]


@dataclass(frozen=True, slots=True)
class Turned:
    """A claimed message about to be authorised: when it was charged (if it was), and under which limits."""

    id: int
    charged_at: Instant | None
    limits: tuple[Limit, ...]


def recharge(turned: Iterable[Turned], used: Used, at: Instant) -> dict[int, list[Charge]]:
    """Which messages may still go at `at`, and what that changes for those whose slot has turned since their charge.

    Without it, 60 claimed at second 0 and sent at 58 would meet the next 60 at 65. A token whose slot still counts
    moves to the current slot; one that has left the window is charged again, if there is room.
    """
    allowed: dict[int, list[Charge]] = {}
    extra: dict[Scope, int] = {}
    for one in turned:
        late = [limit for limit in one.limits if _has_turned(limit, one.charged_at, at)]
        lapsed = [limit for limit in late if not _still_counts(limit, one.charged_at, used, at)]
        if any(used_now(limit, used, at) + extra.get(limit.scope, 0) >= limit.limit for limit in lapsed):
            continue
        for limit in lapsed:
            extra[limit.scope] = extra.get(limit.scope, 0) + 1
        moved = [
            Charge(limit.scope, limit.slot_at(one.charged_at), -1)
            for limit in late
            if limit not in lapsed and one.charged_at is not None
        ]
        allowed[one.id] = charges(late, at, 1) + moved
    return allowed


def _has_turned(limit: Limit, charged_at: Instant | None, at: Instant) -> bool:
    return charged_at is None or limit.slot_at(charged_at) < limit.slot_at(at)


def _still_counts(limit: Limit, charged_at: Instant | None, used: Used, at: Instant) -> bool:
    if charged_at is None:
        return False
    slot = limit.slot_at(charged_at)
    return slot >= limit.oldest_counted(at) and used.get(limit.scope, {}).get(slot, 0) > 0


def total(charges: Iterable[Charge]) -> list[Charge]:
    """One charge a slot."""
    sums: dict[tuple[Scope, int], int] = {}
    for scope, slot, n in charges:
        sums[scope, slot] = sums.get((scope, slot), 0) + n
    return [Charge(scope, slot, n) for (scope, slot), n in sorted(sums.items()) if n]
