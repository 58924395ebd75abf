"""What a receipt does to its message. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mailproxy.model import EventType, Status
from mailproxy.pec.progress import State, advanced
from mailproxy.pec.reading import Proof
from mailproxy.pec.receipt import Receipt, ReceiptKind
from mailproxy.pec.rules import folded
from mailproxy.pec.verification import Verdict

_EVENTS = {
    ReceiptKind.ACCEPTANCE: EventType.PEC_ACCEPTANCE,
    ReceiptKind.NON_ACCEPTANCE: EventType.PEC_ERROR,
    ReceiptKind.TAKING_IN_CHARGE: EventType.PEC_RELAY,
    ReceiptKind.DELIVERY: EventType.PEC_DELIVERY,
    ReceiptKind.DELIVERY_ERROR: EventType.PEC_ERROR,
    ReceiptKind.DELIVERY_ERROR_WARNING: EventType.PEC_WARNING,
    ReceiptKind.VIRUS: EventType.PEC_ERROR,
}
_ABOUT_ALL = (ReceiptKind.ACCEPTANCE, ReceiptKind.NON_ACCEPTANCE)


class Outcome(StrEnum):
    """What became of a receipt: APPLIED, REPEATED (nothing new in it), of a FORMER version of its message, or
    UNPROVEN (kept, but without effect)."""

    APPLIED = "applied"
    REPEATED = "repeated"
    FORMER = "former"
    UNPROVEN = "unproven"


@dataclass(frozen=True, slots=True)
class Recipient:
    number: int
    address: str
    state: State


@dataclass(frozen=True, slots=True)
class Standing:
    """A message as a receipt finds it; `phase` is that of its queue row, None once it is finished. `former` are
    the receipts that had effects before; `partly_taken`: some of its recipients were, and it goes out again."""

    status: Status
    phase: int | None
    attempts: int
    revision: int
    recipients: Sequence[Recipient]
    former: frozenset[tuple[ReceiptKind, tuple[str, ...]]] = frozenset()
    partly_taken: bool = False


@dataclass(frozen=True, slots=True)
class Effects:
    """`states` are new ones by recipient number; `was_sent`: the message, in doubt, turns out to have been sent."""

    outcome: Outcome
    states: tuple[tuple[int, State], ...] = ()
    event: EventType | None = None
    was_sent: bool = False


def effects_of(proof: Proof, revision: int | None, standing: Standing) -> Effects | None:
    """None: the message's own outcome has to be written down first, so the receipt waits."""
    if not proof.applies:
        return Effects(Outcome.UNPROVEN)
    if revision is not None and revision != standing.revision:
        return Effects(Outcome.FORMER)
    was_sent = standing.status is Status.UNKNOWN
    if standing.status is Status.QUEUED:
        was_sent = _proves_sent(proof, standing)
        if not was_sent:
            return None
    states, event = _news(proof.receipt, standing)
    outcome = Outcome.APPLIED if event is not None else Outcome.REPEATED
    return Effects(outcome, states, event, was_sent)


def _proves_sent(proof: Proof, standing: Standing) -> bool:
    """Whether a message that waits to be sent again was taken after all: stopping it needs a verified receipt, and
    one that nobody else may still be waiting for."""
    waits_again = standing.phase == 0 and standing.attempts > 0
    return proof.verdict is Verdict.VERIFIED and waits_again and not standing.partly_taken


def _news(receipt: Receipt, standing: Standing) -> tuple[tuple[tuple[int, State], ...], EventType | None]:
    """An event is due when a state advances, and for what sets none: an acceptance that comes after the delivery,
    or a receipt for somebody whom the message does not name."""
    concerned = _concerned(receipt, standing.recipients)
    states = tuple(
        (one.number, new) for one in concerned if (new := advanced(one.state, receipt.kind)) is not one.state
    )
    is_first = (receipt.kind, told(receipt)) not in standing.former
    sets_none = receipt.kind is ReceiptKind.ACCEPTANCE or not concerned
    return states, _EVENTS[receipt.kind] if states or (sets_none and is_first) else None


def _concerned(receipt: Receipt, recipients: Sequence[Recipient]) -> Sequence[Recipient]:
    if receipt.kind in _ABOUT_ALL or (not receipt.recipients and len(recipients) == 1):
        return recipients
    wanted = told(receipt)
    return [one for one in recipients if one.address in wanted]


def told(receipt: Receipt) -> tuple[str, ...]:
    """The recipients a receipt names, as they are compared."""
    return tuple(sorted({folded(one) for one in receipt.recipients}))
