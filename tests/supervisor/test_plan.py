from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mailproxy.model import AccountPk
from supervisor.plan import Dismiss, Fork, Give, Rouse, Sender, plan
from workers.control import AccountSlot


def _at(*numbers: int) -> tuple[AccountSlot, ...]:
    return tuple((AccountPk(number), 0) for number in numbers)


def _serving(number: int, *accounts: int, leaving: bool = False) -> Sender:
    return Sender(number, frozenset(_at(*accounts)), leaving)


def test_each_wanted_account_gets_a_sender_of_its_own_while_there_is_room() -> None:
    assert plan(_at(7, 8), [], 4) == [Fork(_at(7)), Fork(_at(8))]


def test_the_most_urgent_account_gets_the_last_room() -> None:
    assert plan(_at(9, 2), [_serving(0, 1)], 2) == [Give(0, _at(2)), Fork(_at(9))]


def test_above_the_maximum_accounts_are_shared_evenly() -> None:
    assert plan(_at(1, 2, 3, 4, 5), [], 2) == [Fork(_at(1, 3, 5)), Fork(_at(2, 4))]


def test_an_account_above_the_maximum_goes_to_the_sender_with_the_fewest() -> None:
    assert plan(_at(9), [_serving(0, 1, 2), _serving(1, 3)], 2) == [Give(1, _at(9))]


def test_a_wanted_account_with_a_sender_is_only_roused() -> None:
    assert plan(_at(1), [_serving(3, 1, 2)], 4) == [Rouse(3, _at(1))]


def test_an_account_whose_sender_is_leaving_waits_until_it_is_gone() -> None:
    assert plan(_at(1), [_serving(0, 1, leaving=True)], 4) == []
    assert plan(_at(1, 2), [_serving(0, 1, leaving=True)], 1) == []


def test_accounts_that_lost_their_sender_come_first_and_stay_together() -> None:
    actions = plan(_at(9), [_serving(0, 1)], 2, bereaved=[_at(5, 6)])
    assert actions == [Give(0, _at(9)), Fork(_at(5, 6))]


def test_accounts_that_lost_their_sender_are_served_although_nobody_wants_them() -> None:
    assert plan((), [_serving(0, 1)], 1, bereaved=[_at(5)]) == [Give(0, _at(5))]


def test_a_withheld_account_gets_nothing() -> None:
    assert plan(_at(1, 2), [], 4, withheld=frozenset(_at(1))) == [Fork(_at(2))]


def test_a_sender_that_gave_everything_back_is_dismissed_and_gets_nothing_more() -> None:
    assert plan(_at(1), [_serving(0)], 1) == [Dismiss(0)]


def test_two_slots_of_an_account_are_two_accounts_to_serve() -> None:
    slots = ((AccountPk(1), 0), (AccountPk(1), 1))
    assert plan(slots, [], 4) == [Fork(slots[:1]), Fork(slots[1:])]


_accounts = st.tuples(st.integers(1, 30).map(AccountPk), st.integers(0, 1))


@st.composite
def _fleets(draw: st.DrawFn) -> tuple[list[AccountSlot], list[Sender], int, list[tuple[AccountSlot, ...]]]:
    everything = draw(st.lists(_accounts, unique=True, max_size=40))
    most = draw(st.integers(1, 8))
    running = draw(st.integers(0, most))
    homes = draw(st.lists(st.integers(-2, running - 1), min_size=len(everything), max_size=len(everything)))
    senders = [
        Sender(
            number,
            frozenset(one for one, home in zip(everything, homes, strict=True) if home == number),
            draw(st.booleans()),
        )
        for number in range(running)
    ]
    bereaved = [(one,) for one, home in zip(everything, homes, strict=True) if home == -2]
    wanted = draw(st.lists(st.sampled_from(everything))) if everything else []
    return wanted, senders, most, bereaved


@given(_fleets())
def test_every_wanted_account_ends_with_one_sender_and_the_maximum_holds(
    fleet: tuple[list[AccountSlot], list[Sender], int, list[tuple[AccountSlot, ...]]],
) -> None:
    wanted, senders, most, bereaved = fleet
    actions = plan(wanted, senders, most, bereaved=bereaved)
    forks = [action for action in actions if isinstance(action, Fork)]
    assert len(senders) + len(forks) <= most
    served = Counter(account for sender in senders for account in sender.accounts)
    served.update(
        account for action in actions if isinstance(action, Fork | Give) for account in action.accounts
    )
    assert set(served.values()) <= {1}
    if len(senders) < most or any(sender.accounts and not sender.leaving for sender in senders):
        assert set(wanted) | {account for group in bereaved for account in group} <= set(served)
    gone = {sender.number for sender in senders if sender.leaving or not sender.accounts}
    assert gone.isdisjoint(action.number for action in actions if isinstance(action, Give | Rouse))
