"""The answers about suppression lists as types."""

from typing import NotRequired

from typing_extensions import TypedDict

from mailproxy.api.schemas import Count, Done, Moment, Noted
from mailproxy.suppressions import Cause


class SuppressionInfo(TypedDict):
    """An address that the tenant's mail is not sent to."""

    address: str
    reason: Cause
    event_id: NotRequired[int]
    created_at: Moment
    expires_at: NotRequired[Moment]


class Suppressions(Done):
    suppressions: list[SuppressionInfo]
    next_cursor: NotRequired[str]


class RefusedEntry(TypedDict):
    """An entry that was not added."""

    address: str
    code: str
    reason: str


class Suppressed(Noted):
    added: Count
    updated: Count
    refused: list[RefusedEntry]
