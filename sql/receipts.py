"""What is kept of certified mail (PEC) becomes rows, and rows become that."""

import json

from mailproxy.certified import CertifiedRecipient, Door, KeptReceipt
from mailproxy.model import AccountPk, CertifiedDetail, MessageId
from mailproxy.pec import Evidence, Receipt, ReceiptKind, State
from mailproxy.pec.effects import Outcome
from mailproxy.pec.reading import Proof
from mailproxy.pec.verification import Verdict
from sql.queries import Row


def said(proof: Proof) -> str:
    """A receipt as JSON, with how it was verified."""
    receipt = proof.receipt
    told = {
        "kind": str(receipt.kind),
        "evidence": str(receipt.evidence),
        "recipients": receipt.recipients,
        "message_id": receipt.message_id,
        "original_id": receipt.original_id,
        "identifier": receipt.identifier,
        "provider": receipt.provider,
        "error": receipt.error,
        "reason": receipt.reason,
        "at": receipt.at,
    }
    return json.dumps({"receipt": told, "verdict": str(proof.verdict), "note": proof.note})


def receipt_said(text: str) -> Receipt:
    told = json.loads(text)["receipt"]
    told["recipients"] = tuple(told["recipients"])
    return Receipt(**told | {"kind": ReceiptKind(told["kind"]), "evidence": Evidence(told["evidence"])})


def certified_detail(proof: Proof, number: int) -> CertifiedDetail:
    receipt = proof.receipt
    return CertifiedDetail(
        type=str(receipt.kind),
        receipt=number,
        signature=str(proof.verdict),
        at=receipt.at,
        recipients=receipt.recipients,
        provider=receipt.provider,
        identifier=receipt.identifier,
        error=receipt.error,
        error_reason=receipt.reason,
    )


def kept_receipt(row: Row) -> KeptReceipt:
    number, message_id, text, outcome, received_at, size = row
    known = json.loads(text)
    return KeptReceipt(
        number=number,
        message_id=MessageId(message_id),
        receipt=receipt_said(text),
        verdict=Verdict(known["verdict"]),
        note=known["note"],
        outcome=Outcome(outcome),
        received_at=received_at,
        size=size,
    )


def recipients(states: str | None) -> tuple[CertifiedRecipient, ...]:
    """From a JSON array of address, state and time of each recipient."""
    found = json.loads(states) if states else ()
    return tuple(CertifiedRecipient(address, State(state), at) for address, state, at in found)


def door(row: Row) -> Door:
    """A PEC account without an address of its own has that of its login, where it is one."""
    _, pk, is_pec, pec_address, *logins = row
    named = pec_address or next((login for login in logins if login and "@" in login), None)
    return Door(AccountPk(pk), bool(is_pec), named)
