"""Certified mail (PEC) as it crosses the port: what is entered with it, how far it has come, and its receipts."""

from dataclasses import dataclass

from mailproxy.model import AccountPk, Instant, MessageId, Seconds
from mailproxy.pec import Receipt, State
from mailproxy.pec.effects import Outcome
from mailproxy.pec.verification import Verdict


@dataclass(frozen=True, slots=True)
class Door:
    """What a submission has to know of an account: whether its mail is certified, and from which address it is."""

    pk: AccountPk
    is_pec: bool = False
    pec_address: str | None = None


@dataclass(frozen=True, slots=True)
class Certified:
    """What is kept of certified mail for its receipts: its recipients, folded. Whether an acceptance is missing is
    first looked at after `look_after` seconds."""

    recipients: tuple[str, ...]
    look_after: Seconds


@dataclass(frozen=True, slots=True)
class CertifiedRecipient:
    """How far a certified message has come for one recipient, as of `at`."""

    address: str
    state: State
    at: Instant | None


@dataclass(frozen=True, slots=True)
class KeptReceipt:
    """A receipt as it is kept: the `number`th of its client's id, which may have named several messages one after
    the other."""

    number: int
    message_id: MessageId
    receipt: Receipt
    verdict: Verdict
    note: str | None
    outcome: Outcome
    received_at: Instant
    size: int
