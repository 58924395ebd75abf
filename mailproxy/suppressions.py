"""Addresses that a tenant's mail is not sent to, and how two spellings of one are told to be the same."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mailproxy import address
from mailproxy.checks import Fault
from mailproxy.model import Instant
from mailproxy.records import RecipientOutcome

CODE = "recipient_suppressed"
MOST_NAMED = 20


class Cause(StrEnum):
    """Why an address is on a list. The first two may also be entered by the service itself."""

    HARD_BOUNCE = "hard_bounce"
    COMPLAINT = "complaint"
    MANUAL = "manual"
    IMPORT = "import"


@dataclass(frozen=True, slots=True)
class Suppression:
    """An entry in force. `event_id` is that of the bounce or complaint it was made for; without `expires_at` it
    stays until it is removed."""

    address: str
    cause: Cause
    created_at: Instant
    event_id: int | None = None
    expires_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class NewSuppression:
    """An entry to make; `address` is normalised."""

    address: str
    cause: Cause = Cause.MANUAL
    expires_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class SuppressionFilter:
    text: str | None = None
    cause: Cause | None = None


def normalised(text: str) -> str:
    """The spelling under which a mailbox is listed; raises InvalidInput `invalid_address`."""
    return key_of(address.parse(text).ascii_addr_spec)


def key_of(addr_spec: str) -> str:
    """The same for an address that is parsed, with its domain in A-labels.

    Local parts may tell case apart (RFC 5321 §2.4), but servers that do are rare, and mail to one that bounced
    in another spelling harms the sender; so they are listed without.
    """
    return addr_spec.lower() if addr_spec.isascii() else unicodedata.normalize("NFC", addr_spec).lower()


def refused(envelope: Sequence[str], listed: Mapping[str, Cause]) -> tuple[RecipientOutcome, ...]:
    """The recipients of an envelope that are listed, as if a server had refused them for good (RFC 3463 §3.8)."""
    return tuple(
        RecipientOutcome(index, False, one, 550, "5.7.1", f"{CODE}: {cause}", permanent=True)
        for index, one in enumerate(envelope)
        if (cause := listed.get(key_of(one)))
    )


def fault(refused: Sequence[RecipientOutcome], but: str = "there is no other recipient") -> Fault:
    """Of a message that goes to nobody for them; `but` says why to nobody else."""
    named = [one.address for one in refused[:MOST_NAMED]]
    more = f" and {len(refused) - MOST_NAMED} more" if len(refused) > MOST_NAMED else ""
    return Fault("to", CODE, f"{', '.join(named)}{more}: suppressed, and {but}")
