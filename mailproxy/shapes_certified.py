"""Receipts of certified mail (PEC) as clients see them."""

from typing import Any

from mailproxy.certified import KeptReceipt
from mailproxy.model import public_pk
from mailproxy.shapes import present, seconds


def receipt(kept: KeptReceipt, instance: int) -> dict[str, Any]:
    said = kept.receipt
    return present(
        {
            "n": kept.number,
            "pk": public_pk(instance, kept.message_id),
            "type": said.kind,
            "recipients": list(said.recipients),
            "pec_ts": seconds(said.at),
            "provider": said.provider,
            "identifier": said.identifier,
            "error": said.error,
            "error_reason": said.reason,
            "signature": kept.verdict,
            "signature_note": kept.note,
            "outcome": kept.outcome,
            "received_ts": seconds(kept.received_at),
            "size": kept.size,
        }
    )
