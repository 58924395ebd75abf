"""How far a certified message has come for one recipient: receipts arrive in any order and never set it back."""

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


def advanced(state: State, kind: ReceiptKind) -> State:
    """The state after a receipt: the further of the two; of two failures the first stays.

    A delivery outranks every failure, since a delivered message cannot be taken back.
    """
    return max(state, _REACHED[kind], key=_RANK.__getitem__)
