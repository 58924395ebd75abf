import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.backoff import FIRST, FREE_RESTARTS, LONGEST, History, after_death


def _waits(deaths: int, *, lived: float, at_birth: bool) -> list[float]:
    history, waits = History(), []
    for _ in range(deaths):
        history, wait = after_death(history, lived=lived, at_birth=at_birth)
        waits.append(wait)
    return waits


def test_deaths_at_birth_wait_twice_as_long_each_time() -> None:
    assert _waits(9, lived=0.0, at_birth=True) == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_a_death_after_birth_is_answered_at_once() -> None:
    assert _waits(5, lived=3.0, at_birth=False) == [0.0] * 5


def test_a_kill_every_two_seconds_is_answered_at_once_for_ever() -> None:
    assert set(_waits(900, lived=2.0, at_birth=False)) == {0.0}


def test_a_process_that_falls_over_for_ever_is_slowed_down() -> None:
    waits = _waits(40, lived=0.05, at_birth=False)
    assert waits[:FREE_RESTARTS] == [0.0] * FREE_RESTARTS
    assert set(waits[FREE_RESTARTS + 1 :]) == {FIRST}


@pytest.mark.parametrize(("lived", "wait"), [(0.0, 4.0), (60.0, 1.4142), (3600.0, 0.5)])
def test_history_fades_with_the_time_lived(lived: float, wait: float) -> None:
    _, after = after_death(History(births_failed=3.0), lived=lived, at_birth=True)
    assert after == pytest.approx(wait, abs=1e-3)


@given(st.lists(st.tuples(st.floats(0, 1e7), st.booleans())))
def test_no_wait_is_negative_or_longer_than_the_longest(deaths: list[tuple[float, bool]]) -> None:
    history = History()
    for lived, at_birth in deaths:
        history, wait = after_death(history, lived=lived, at_birth=at_birth)
        assert (FIRST if at_birth else 0.0) <= wait <= LONGEST
