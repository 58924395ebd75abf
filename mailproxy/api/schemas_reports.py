"""The answers about what became of messages: explanations, how calls to tenants stand, dead letters."""

from typing import NotRequired

from typing_extensions import TypedDict

from mailproxy.api.schemas import Count, Done, Moment, Noted
from mailproxy.api.schemas_events import EventData
from mailproxy.explanation import Action
from mailproxy.model import EventType, State


class SyncInfo(TypedDict):
    """How the calls to one tenant stand."""

    id: str
    name: NotRequired[str]
    active: bool
    client_base_url: NotRequired[str]
    last_sync_ts: NotRequired[Moment]
    next_sync_due: bool
    in_dnd: bool
    dnd_until: NotRequired[Moment]
    next_try: NotRequired[Moment]
    failures: Count
    failure: NotRequired[str]
    reports_pending: Count
    reports_dead: Count
    switched_off: NotRequired[str]


class SyncStatus(Done):
    sync_interval_seconds: float
    tenants: list[SyncInfo]
    next_cursor: NotRequired[str]


class DeadLetterInfo(TypedDict):
    """An event whose report was set aside."""

    event_id: int
    event_type: EventType
    event_ts: Moment
    event_data: EventData
    tenant_id: str
    id: str
    account_id: NotRequired[str]
    cause: str
    refusals: Count
    failing_since: Moment
    dead_ts: Moment


class DeadLetters(Done):
    dead_letters: list[DeadLetterInfo]
    next_cursor: NotRequired[str]


class Replayed(Noted):
    replayed: Count
    not_found: list[int]


class Discarded(Noted):
    discarded: Count
    not_found: list[int]


class FindingInfo(TypedDict):
    """What is known of a message's fate."""

    code: str
    text: str
    blocks: bool
    remedy: NotRequired[str]
    action: NotRequired[Action]
    object: NotRequired[str]
    until: NotRequired[Moment]


class Explanation(Done):
    id: str
    status: State
    findings: list[FindingInfo]
