"""What happened to a message and its recipients, as types."""

from typing import Literal

from pydantic import Field
from typing_extensions import Annotated, NotRequired, TypedDict  # noqa: UP035 - pydantic reads these on 3.11

from mailproxy.api.schemas_certified import CertifiedData
from mailproxy.model import EventType

Moment = Annotated[int, Field(ge=0)]


class RefusedRecipientInfo(TypedDict):
    """A recipient the SMTP server would not take."""

    address: str
    code: NotRequired[int]
    enhanced: NotRequired[str]
    text: NotRequired[str]


class BouncedRecipientInfo(TypedDict):
    """A recipient whose copy came back after it had been sent."""

    address: str
    type: Literal["hard", "soft"]
    code: NotRequired[str]
    status: NotRequired[str]
    reason: NotRequired[str]
    ts: Moment
    verified: bool


class EventData(TypedDict, total=False):
    """What an event says besides its type; only what it has."""

    attempt: int
    error: str
    reason: str
    code: int
    enhanced: str
    reply: str
    deferred_until: float
    late: bool
    refused: list[RefusedRecipientInfo]
    recipient: str
    bounce_type: Literal["hard", "soft"]
    bounce_code: str
    bounce_reason: str
    verified: bool
    pec: CertifiedData


class EventInfo(TypedDict):
    event_id: int
    event_type: EventType
    event_ts: Moment
    event_data: EventData
    reported: bool
