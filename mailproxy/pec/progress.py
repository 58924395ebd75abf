"""How far a certified message has come for one recipient: receipts arrive in any order and never set it back."""

from collections.abc import Iterable
from enum import StrEnum

from mailproxy.pec.receipt import ReceiptKind


class State(StrEnum):
    WAITING = "waiting"
    TIMED_OUT = "timed_out"
    ACCEPTED = "accepted"
    TAKEN_IN_CHARGE = "taken_in_charge"
    LATE = "late"
    REFUSED = "refused"
    FAILED = "failed"
    VIRUS = "virus"
    DELIVERED = "delivered"

    @property
    def is_final(self) -> bool:
        return _RANK[self] >= _RANK[State.REFUSED]

    @property
    def is_failure(self) -> bool:
        return self in (State.REFUSED, State.FAILED, State.VIRUS)

    @property
    def is_missed(self) -> bool:
        """Whether not even an acceptance is known of."""
        return _RANK[self] < _RANK[State.ACCEPTED]


_RANK = {
    State.WAITING: 0,
    State.TIMED_OUT: 1,
    State.ACCEPTED: 2,
    State.TAKEN_IN_CHARGE: 3,
    State.LATE: 4,
    State.REFUSED: 5,
    State.FAILED: 5,
    State.VIRUS: 5,
    State.DELIVERED: 6,
}
_REACHED = {
    ReceiptKind.ACCEPTANCE: State.ACCEPTED,
    ReceiptKind.NON_ACCEPTANCE: State.REFUSED,
    ReceiptKind.TAKING_IN_CHARGE: State.TAKEN_IN_CHARGE,
    ReceiptKind.DELIVERY: State.DELIVERED,
    ReceiptKind.DELIVERY_ERROR: State.FAILED,
    ReceiptKind.DELIVERY_ERROR_WARNING: State.LATE,
    ReceiptKind.VIRUS: State.VIRUS,
}


def overall(states: Iterable[State]) -> State | None:
    """Of a whole message: a failure for anybody, else the least that was reached; None without recipients."""
    found = sorted(states, key=_RANK.__getitem__)
    failed = next((state for state in found if state.is_failure), None)
    return failed or next(iter(found), None)


def advanced(state: State, kind: ReceiptKind) -> State:
    """The state after a receipt: the further of the two; of two failures the first stays.

    A delivery outranks every failure, since a delivered message cannot be taken back.
    """
    return max(state, _REACHED[kind], key=_RANK.__getitem__)
