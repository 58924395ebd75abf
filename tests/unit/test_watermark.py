"""Where claims begin: at the start while that is quick, else at what was left unclaimed, and never there for long."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from mailproxy.looks import FROM_START, Look
from workers.watermark import LONGEST_REST, MARGIN, QUICK, Watermark

NOTHING = (inf, inf, inf, inf)
SLOW = 100 * QUICK
BACKLOG = Look((900.0, inf, 500.0, 999.5), at=1000.0, took=SLOW)


def test_claims_look_from_the_start_while_that_is_quick() -> None:
    mark = Watermark().after_look(Look((900.0, inf, 500.0, inf), at=1000.0, took=QUICK), now=5.0)
    assert (mark.is_used, mark.since) == (False, FROM_START)


def test_after_a_slow_look_claims_begin_at_what_it_left_and_no_later_than_a_margin_ago() -> None:
    mark = Watermark().after_look(BACKLOG, now=5.0)
    assert mark.since == (900.0, 1000.0 - MARGIN, 500.0, 1000.0 - MARGIN)


@given(took=st.floats(QUICK, 1000.0), now=st.floats(0.0, 1e6), with_room=st.booleans())
def test_no_look_from_the_start_is_further_away_than_the_longest_rest(
    took: float, now: float, with_room: bool
) -> None:
    mark = Watermark().after_look(Look(NOTHING, 0.0, took), now, quick=0.0)
    mark = mark.with_room() if with_room else mark
    assert mark.look_at is not None
    assert now + min(took, LONGEST_REST) <= mark.look_at <= now + LONGEST_REST


def test_a_claim_that_found_all_there_was_has_the_start_looked_at_sooner() -> None:
    mark = Watermark().after_look(Look(NOTHING, 1000.0, took=0.5), now=100.0)
    assert (mark.look_at, mark.with_room().look_at) == (105.0, 100.5)
    assert Watermark().with_room() == Watermark()


def test_a_look_that_failed_is_taken_again_and_claims_stay_where_they_are() -> None:
    mark = Watermark().after_look(BACKLOG, now=5.0)
    failed = mark.after_failure(now=50.0)
    assert (failed.since, failed.look_at) == (mark.since, 50.0 + LONGEST_REST)
    assert failed.with_room().look_at == 50.0 + SLOW
    assert Watermark().after_failure(now=50.0) == Watermark()


def test_a_claim_moves_the_watermark_and_does_not_put_off_the_next_look() -> None:
    mark = Watermark().after_look(BACKLOG, now=5.0)
    moved = mark.after_claim(mark.since, Look((950.0, inf, 700.0, inf), at=1001.0, took=0.0))
    assert moved.since == (950.0, 1001.0 - MARGIN, 700.0, 1001.0 - MARGIN)
    assert moved.look_at == mark.look_at


def test_a_claim_does_not_pass_what_a_look_found_meanwhile() -> None:
    asked = (900.0, 900.0, 900.0, 900.0)
    mark = Watermark().after_look(Look((800.0, inf, 950.0, inf), at=1000.0, took=SLOW), now=5.0)
    moved = mark.after_claim(asked, Look((970.0, 970.0, 970.0, 970.0), at=1001.0, took=0.0))
    assert moved.since == (800.0, 970.0, 970.0, 970.0)


def test_a_clock_that_is_set_back_takes_the_watermark_with_it() -> None:
    mark = Watermark().after_look(BACKLOG, now=5.0)
    moved = mark.after_claim(mark.since, Look(NOTHING, at=400.0, took=0.0))
    assert moved.since == (400.0 - MARGIN,) * 4


def test_claims_look_from_the_start_again_once_that_is_quick_again() -> None:
    slow = Watermark().after_look(BACKLOG, now=5.0)
    again = slow.after_look(Look(NOTHING, at=1010.0, took=0.0), now=15.0)
    assert again.after_claim(slow.since, BACKLOG).since == FROM_START
    assert not again.is_used
