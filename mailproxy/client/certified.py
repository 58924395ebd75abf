"""What the API answers about certified mail (PEC)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailproxy.client.reading import raw as _raw


@dataclass(frozen=True, slots=True)
class CertifiedRecipient:
    """How far certified mail has come for a recipient, as of `ts`."""

    address: str
    state: str
    ts: float | None = None
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt for a message: the `n`th of the message's id, of the `type` its provider calls it.

    `signature` is verified, unverified or invalid, and `signature_note` says why; `outcome` what came of it.
    """

    n: int
    type: str
    signature: str
    outcome: str
    received_ts: float
    recipients: Sequence[str] = ()
    signature_note: str | None = None
    pec_ts: float | None = None
    provider: str | None = None
    identifier: str | None = None
    error: str | None = None
    error_reason: str | None = None
    pk: str | None = None
    size: int | None = None
    raw: Mapping[str, Any] = _raw()
