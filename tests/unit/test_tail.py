"""Events are read in the order of their commits, although their numbers are not in it."""

from hypothesis import given
from hypothesis import strategies as st

from mailproxy.embedded.tail import GAP_LASTS, MOST_GAPS, Tail


@given(st.permutations(range(1, 30)), st.integers(1, 7))
def test_events_that_appear_in_any_order_are_each_read_once(order: list[int], page: int) -> None:
    tail, read = Tail(0), list[int]()
    there: set[int] = set()
    for number in [*order, *[0] * len(order)]:
        there |= {number} - {0}
        missed = tail.missed(0.0)
        more = sorted(event for event in there if event > tail.after)[:page]
        found = sorted({event for event in missed if event in there} | set(more))
        tail.take(found, 0.0)
        read += found
    assert sorted(read) == sorted(order)


def test_a_number_that_never_comes_is_given_up() -> None:
    tail = Tail(5)
    tail.take([8], 0.0)
    assert tail.missed(GAP_LASTS - 1) == [6, 7]
    assert tail.missed(GAP_LASTS) == []


def test_a_leap_of_the_numbers_does_not_fill_the_memory() -> None:
    tail = Tail(0)
    tail.take([10**12, 10**12 + 2], 0.0)
    assert len(tail.missed(0.0)) == MOST_GAPS
    assert tail.after == 10**12 + 2
