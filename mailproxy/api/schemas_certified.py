"""What the API answers about certified mail (PEC), as types."""

from typing import Literal

from pydantic import Field
from typing_extensions import Annotated, NotRequired, TypedDict  # noqa: UP035 - pydantic reads these on 3.11

from mailproxy import pec
from mailproxy.pec.effects import Outcome
from mailproxy.pec.verification import Verdict as Signature

_Moment = Annotated[int, Field(ge=0)]


class CertifiedData(TypedDict):
    """What a receipt of certified mail says."""

    type: pec.ReceiptKind
    receipt: Annotated[int, Field(ge=1)]
    signature: Signature
    at: NotRequired[float]
    recipients: NotRequired[list[str]]
    provider: NotRequired[str]
    identifier: NotRequired[str]
    error: NotRequired[str]
    error_reason: NotRequired[str]


class CertifiedRecipientInfo(TypedDict):
    """How far certified mail has come for a recipient."""

    address: str
    state: pec.State
    ts: NotRequired[_Moment]


class ReceiptInfo(TypedDict):
    """A receipt of certified mail, kept octet for octet."""

    n: Annotated[int, Field(ge=1)]
    pk: str
    type: pec.ReceiptKind
    recipients: list[str]
    pec_ts: NotRequired[_Moment]
    provider: NotRequired[str]
    identifier: NotRequired[str]
    error: NotRequired[str]
    error_reason: NotRequired[str]
    signature: Signature
    signature_note: NotRequired[str]
    outcome: Outcome
    received_ts: _Moment
    size: Annotated[int, Field(ge=0)]


class Receipts(TypedDict):
    ok: Literal[True]
    receipts: list[ReceiptInfo]
