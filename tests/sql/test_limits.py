"""Rate limits, pure: no sequence of charges exceeds the limit in any window, and nobody waits longer than he must."""

import bisect
from collections import defaultdict
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from mailproxy.limits import (
    ACCOUNT,
    SLACK,
    TENANT,
    WINDOWS,
    Charge,
    Limit,
    Scope,
    Turned,
    budget,
    charges,
    next_token,
    recharge,
    standard,
    total,
    used_now,
)
from tests.support.examples import examples

START = 1_700_000_000.0
MINUTE = Limit(Scope(ACCOUNT, 1, "minute"), 5.0, 12, 60)


def most_in_a_window(at: list[float], width: float) -> int:
    """The largest number of moments in any half-open window of `width` seconds."""
    at = sorted(at)
    return max((bisect.bisect_left(at, start + width) - i for i, start in enumerate(at)), default=0)


@dataclass
class Ledger:
    """What the database keeps: charges by slot."""

    slots: dict[Scope, dict[int, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))

    def apply(self, changes: list[Charge]) -> None:
        for scope, slot, n in changes:
            self.slots[scope][slot] += n
            assert self.slots[scope][slot] >= 0


@st.composite
def windows(draw: st.DrawFn) -> list[Limit]:
    """A limit of an account, and perhaps one of its tenant, with windows of seconds."""
    found = []
    for kind in (ACCOUNT, TENANT):
        slot = draw(st.sampled_from([0.25, 0.5, 1.0, 5.0]))
        found.append(Limit(Scope(kind, 1, "w"), slot, draw(st.integers(1, 6)), draw(st.integers(1, 12))))
    return found[: draw(st.integers(1, 2))]


STEPS = st.lists(
    st.tuples(
        st.floats(0, 4),  # until the claim
        st.integers(1, 10),  # how many are wanted
        st.lists(st.floats(0, 9), max_size=10),  # how long each takes to its intent
        st.floats(0, SLACK - 0.01),  # from the intent to the dot
    ),
    max_size=25,
)


@settings(max_examples=examples(100))
@given(limits=windows(), steps=STEPS, give_up=st.booleans())
def test_no_window_ever_sees_more_dots_than_the_limit(
    limits: list[Limit], steps: list[tuple[float, int, list[float], float]], give_up: bool
) -> None:
    ledger = Ledger()
    todo: list[tuple[float, int, float | None, float]] = []
    now, ids, dots = START, 0, []
    for pause, wanted, delays, slack in steps:
        now += pause
        todo.append((now, wanted, None, slack))
        todo += [(now + delay, -1, now, slack) for delay in delays]
    tokens: dict[float, int] = defaultdict(int)
    for at, wanted, claimed_at, slack in sorted(todo, key=lambda step: (step[0], step[2] is not None)):
        if claimed_at is None:
            free = budget(limits, ledger.slots, at, wanted).tokens
            ledger.apply(charges(limits, at, free))
            tokens[at] += free
        elif tokens[claimed_at]:
            tokens[claimed_at] -= 1
            ids += 1
            allowed = recharge([Turned(ids, claimed_at, tuple(limits))], ledger.slots, at)
            ledger.apply(total(allowed.get(ids, [])))
            if allowed and not (give_up and ids % 3 == 0):
                dots.append(at + slack)
    for limit in limits:
        assert most_in_a_window(dots, limit.slot_s * limit.slots) <= limit.limit


@settings(max_examples=examples(100))
@given(limits=windows(), gaps=st.lists(st.floats(0, 3), min_size=1, max_size=40))
def test_the_next_token_is_neither_early_nor_late(limits: list[Limit], gaps: list[float]) -> None:
    ledger = Ledger()
    taken: list[float] = []
    now = START
    for gap in gaps:
        now += gap
        free = budget(limits, ledger.slots, now, 3)
        ledger.apply(charges(limits, now, free.tokens))
        taken += [now] * free.tokens
        if free.tokens:
            continue
        assert free.wait is not None
        assert budget(limits, ledger.slots, now + free.wait + 1e-6, 1).tokens == 1
        if free.wait > 0.01:
            assert budget(limits, ledger.slots, now + free.wait - 0.005, 1).tokens == 0
        assert (
            free.wait <= max(_exact_wait(limit, taken, now) + limit.slot_s + SLACK for limit in limits) + 1e-6
        )


def _exact_wait(limit: Limit, taken: list[float], now: float) -> float:
    """When a window counted to the instant would have room."""
    return (
        max(0.0, sorted(taken)[-limit.limit] + limit.slot_s * limit.slots - now)
        if len(taken) >= limit.limit
        else 0.0
    )


def test_sixty_claimed_early_and_sent_late_do_not_meet_the_next_sixty() -> None:
    ledger = Ledger()
    ledger.apply(charges([MINUTE], START, 60))
    late = [Turned(i, START, (MINUTE,)) for i in range(60)]
    for changes in recharge(late, ledger.slots, START + 58).values():
        ledger.apply(total(changes))
    assert budget([MINUTE], ledger.slots, START + 67, 60).tokens == 0
    assert ledger.slots[MINUTE.scope][MINUTE.slot_at(START)] == 0


def test_a_token_that_moves_is_not_paid_twice() -> None:
    ledger = Ledger()
    ledger.apply(charges([MINUTE], START, 60))
    allowed = recharge([Turned(i, START, (MINUTE,)) for i in range(60)], ledger.slots, START + 7)
    assert len(allowed) == 60
    ledger.apply(total(change for changes in allowed.values() for change in changes))
    assert used_now(MINUTE, ledger.slots, START + 7) == 60


def test_a_token_that_left_the_window_is_paid_again_while_there_is_room() -> None:
    ledger = Ledger()
    ledger.apply(charges([MINUTE], START, 30))
    at = START + 90
    ledger.apply(charges([MINUTE], at, 50))
    allowed = recharge([Turned(i, START, (MINUTE,)) for i in range(30)], ledger.slots, at)
    assert len(allowed) == 10


def test_a_message_claimed_before_there_was_a_limit_is_charged_at_its_intent() -> None:
    full = {MINUTE.scope: {MINUTE.slot_at(START): 60}}
    assert recharge([Turned(1, None, (MINUTE,))], full, START) == {}
    assert recharge([Turned(1, None, (MINUTE,))], {}, START) == {1: charges([MINUTE], START, 1)}
    assert recharge([Turned(1, None, ())], full, START) == {1: []}


def test_the_slowest_window_says_when_to_come_back() -> None:
    day = Limit(Scope(ACCOUNT, 1, "day"), 3600.0, 24, 10)
    used = {MINUTE.scope: {MINUTE.slot_at(START): 60}, day.scope: {day.slot_at(START): 10}}
    found = budget([MINUTE, day], used, START, 5)
    assert found.tokens == 0
    assert found.wait == next_token(day, used, START) > 80_000


def test_zero_and_none_mean_no_limit() -> None:
    assert standard(ACCOUNT, 1, {"minute": 0, "hour": None}) == []
    (found,) = standard(TENANT, 2, {"day": 5})
    assert (found.scope, found.slot_s * found.slots, found.limit) == (Scope(TENANT, 2, "day"), 86400.0, 5)
    assert {name: slot * slots for name, (slot, slots) in WINDOWS.items()} == {
        "minute": 60.0,
        "hour": 3600.0,
        "day": 86400.0,
    }
