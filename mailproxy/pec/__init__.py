"""Receipts of certified mail (PEC, RFC 6109): what a provider attests of a message of ours. No I/O."""

from mailproxy.pec.progress import State, advanced, overall
from mailproxy.pec.receipt import Evidence, Receipt, ReceiptKind, Transport, parse, transport_of

__all__ = [
    "Evidence",
    "Receipt",
    "ReceiptKind",
    "State",
    "Transport",
    "advanced",
    "overall",
    "parse",
    "transport_of",
]
