"""From a mail's octets to what a receipt proves of a message of ours."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mailproxy.model import MessageId, sending_of
from mailproxy.pec.receipt import Evidence, Receipt, parse, transport_of
from mailproxy.pec.verification import Verdict, Verification, verify


@dataclass(frozen=True, slots=True)
class Terms:
    """Whose signatures are trusted, and whether receipts without a trusted one have their effects."""

    issuers: Path | None
    applies_unverified: bool

    @classmethod
    def of(cls, issuers: Path | None, unverified: Literal["apply", "record"] | None) -> "Terms":
        """Unless told, who names issuers wants receipts verified, and who names none could have none applied."""
        return cls(issuers, unverified == "apply" if unverified else issuers is None)


@dataclass(frozen=True, slots=True)
class Proof:
    """A receipt that came in. `applies`: it may change what is known of its message; `note`: why it is unverified."""

    receipt: Receipt
    verdict: Verdict
    note: str | None
    applies: bool
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reference:
    """How a receipt names its message: a Message-ID of ours tells the message and its revision, any other may be
    the one its client gave; the client's id comes back in what is returned."""

    number: MessageId | None
    revision: int | None
    header_id: str | None
    client_id: str | None


def proof_in(raw: bytes, terms: Terms) -> Proof | None:
    """The receipt that a mail is, None for any other mail. What is proven is what the signature covers. Blocks while
    openssl runs."""
    if transport_of(raw) is not None:
        return None
    found = parse(raw)
    if found is None and b"pkcs7-mime" not in raw[: 64 << 10].lower():
        return None
    checked = verify(raw, terms.issuers)
    signed = parse(checked.content) if checked.content is not None else None
    receipt = signed if signed is not None and signed.evidence is Evidence.CERTIFICATION else found or signed
    if receipt is None:
        return None
    checked = _judged(checked, receipt, is_signed=receipt is signed)
    applies = checked.verdict is Verdict.VERIFIED or (
        checked.verdict is Verdict.UNVERIFIED and terms.applies_unverified
    )
    return Proof(receipt, checked.verdict, checked.note, applies, raw)


def _judged(checked: Verification, receipt: Receipt, *, is_signed: bool) -> Verification:
    """A good signature proves certification data under it that say one thing; nothing else of the mail."""
    if checked.verdict is not Verdict.VERIFIED:
        return checked
    if not is_signed:
        return Verification(Verdict.UNVERIFIED, "no certification data are signed")
    if receipt.contradicted:
        return Verification(Verdict.UNVERIFIED, "its certification data contradict each other")
    return checked


def reference_of(receipt: Receipt, instance: int) -> Reference:
    number, revision = sending_of(instance, receipt.message_id or "") or (None, None)
    return Reference(
        number=number,
        revision=revision,
        header_id=receipt.message_id,
        client_id=receipt.original_id,
    )
