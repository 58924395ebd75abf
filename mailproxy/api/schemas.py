"""The answers of the API as types, from which the OpenAPI document is made; tests hold real answers to them.

A field that may be missing is NotRequired: nothing answers null unless its type says so.
"""

from typing import Any, Literal

from pydantic import Field
from typing_extensions import Annotated, NotRequired, TypedDict  # noqa: UP035 - pydantic reads these on 3.11

from mailproxy import pec
from mailproxy.api.codes import REJECTIONS
from mailproxy.api.schemas_certified import CertifiedRecipientInfo
from mailproxy.api.schemas_events import BouncedRecipientInfo, EventData, EventInfo, RefusedRecipientInfo
from mailproxy.api.wire import AnyPriority
from mailproxy.api.wire_messages import MessageFields
from mailproxy.model import AccountCondition, OnUnknownOutcome, State

Moment = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Age = Annotated[float, Field(ge=0)]
RejectionCode = Annotated[str, Field(json_schema_extra={"enum": list(REJECTIONS)})]


class AddMessages(TypedDict):
    """One call, one transaction: what is right is queued, what is wrong is told, message by message."""

    messages: list[MessageFields]
    default_priority: NotRequired[AnyPriority]


class Done(TypedDict):
    ok: Literal[True]


class Noted(Done):
    warnings: NotRequired[list[str]]


class NewKey(Noted):
    api_key: str


class WebhookSecretStored(Noted):
    """The secret is in the answer only when the server made it, and only this once."""

    webhook_secret: NotRequired[str]
    previous_until: NotRequired[Moment]


class TenantStored(Noted):
    api_key: NotRequired[str]


class Health(Done):
    status: Literal["ok"]
    version: NotRequired[str]


class Check(TypedDict):
    ok: bool
    required: bool
    reason: NotRequired[str]


class Readiness(TypedDict):
    ok: bool
    status: Literal["ready", "not ready"]
    checks: NotRequired[dict[str, Check]]


class Status(Done):
    active: bool
    scheduler_active: bool
    pending: Count
    oldest_pending_age: NotRequired[Age]
    reports_pending: Count
    reports_dead: Count
    processes: dict[str, Count]
    version: str
    node: str


class MessageCounts(TypedDict):
    """Messages kept, by fate; what is missing from the total has been cancelled or has expired."""

    total: Count
    pending: Count
    sent: Count
    error: Count
    unknown: Count


class Stats(Done):
    tenants: Count
    accounts: Count
    messages: MessageCounts
    reports_pending: Count
    reports_dead: Count
    tenants_switched_off: Count
    active: bool


class Rejection(TypedDict):
    id: str | None
    reason: str
    code: RejectionCode


class Acceptance(TypedDict):
    id: str
    pk: str
    suppressed: NotRequired[list[str]]


class Added(Noted):
    queued: Count
    rejected: list[Rejection]
    accepted: list[Acceptance]


class Scheduler(Done):
    """The answer when the whole scheduler was meant."""

    active: bool


class Suspended(Done):
    """The answer when a tenant or one of its batches was meant."""

    tenant_id: str
    batch_code: NotRequired[str]
    suspended_batches: list[str]
    pending_messages: Count


class Deleted(Noted):
    removed: Count
    not_found: list[str]
    unauthorized: list[str]
    being_sent: NotRequired[list[str]]


class CleanedUp(Noted):
    removed: Count


class ClientAuthInfo(TypedDict):
    method: Literal["none", "bearer", "basic"]
    user: NotRequired[str]
    token_set: NotRequired[Literal[True]]
    password_set: NotRequired[Literal[True]]


class RateLimitsInfo(TypedDict):
    hourly: NotRequired[Count]
    daily: NotRequired[Count]


class StoragePlace(TypedDict):
    """The options of a storage without its secrets."""

    endpoint_url: NotRequired[str]
    region: NotRequired[str]
    addressing_style: NotRequired[Literal["auto", "path", "virtual"]]
    project: NotRequired[str]
    account_name: NotRequired[str]


class LargeFilesInfo(TypedDict):
    """What is done with large attachments; what was not given has its default."""

    enabled: NotRequired[bool]
    max_size_mb: NotRequired[float]
    action: NotRequired[Literal["warn", "reject", "rewrite"]]
    storage_url: NotRequired[str]
    storage_options: NotRequired[StoragePlace]
    storage_secrets_set: NotRequired[Literal[True]]
    links: NotRequired[Literal["storage", "own"]]
    public_base_url: NotRequired[str]
    file_ttl_days: NotRequired[float]
    lifespan_after_download_days: NotRequired[float]


class TenantInfo(TypedDict):
    """A tenant without its secrets."""

    id: str
    name: NotRequired[str]
    client_base_url: NotRequired[str]
    client_sync_path: NotRequired[str]
    client_attachment_path: NotRequired[str]
    client_auth: ClientAuthInfo
    rate_limits: NotRequired[RateLimitsInfo]
    large_file_config: NotRequired[LargeFilesInfo]
    webhook_secret_set: bool
    webhook_secret_previous_until: NotRequired[Moment]
    report_strict: bool
    report_format: Literal["item", "event"]
    suppress_bounces: bool
    active: bool
    switched_off: NotRequired[str]
    switched_off_since: NotRequired[Moment]
    created_at: Moment
    updated_at: Moment


class Tenants(Done):
    tenants: list[TenantInfo]
    next_cursor: NotRequired[str]


class WindowInfo(TypedDict):
    """One rate-limit window as it stands."""

    limit: Count
    used: Count
    left: Count
    next: NotRequired[Moment]


class Windows(TypedDict):
    minute: NotRequired[WindowInfo]
    hour: NotRequired[WindowInfo]
    day: NotRequired[WindowInfo]


class AccountInfo(TypedDict):
    """An account without its secrets, and how it fares."""

    id: str
    tenant_id: str
    host: str
    port: int
    user: NotRequired[str]
    password_set: bool
    use_tls: NotRequired[bool]
    tls_verify: bool
    tls_ca: NotRequired[str]
    ttl: int
    batch_size: NotRequired[int]
    max_retries: NotRequired[int]
    retry_delays: NotRequired[list[float]]
    on_unknown_outcome: OnUnknownOutcome
    limit_per_minute: NotRequired[Count]
    limit_per_hour: NotRequired[Count]
    limit_per_day: NotRequired[Count]
    limit_behavior: Literal["defer", "reject"]
    is_pec_account: bool
    pec_address: NotRequired[str]
    imap_host: NotRequired[str]
    imap_port: NotRequired[int]
    imap_user: NotRequired[str]
    imap_password_set: NotRequired[bool]
    imap_folder: NotRequired[str]
    imap_ssl: NotRequired[bool]
    state: AccountCondition
    state_reason: NotRequired[str]
    state_cause: NotRequired[str]
    state_since: NotRequired[Moment]
    state_remedy: NotRequired[str]
    next_try: NotRequired[Moment]
    limits: NotRequired[Windows]
    created_at: Moment
    updated_at: Moment


class MailboxHealth(TypedDict):
    """How the reading of a mailbox goes."""

    state: Literal["off", "waiting", "ok", "failing"]
    checked_ts: NotRequired[Moment]
    failure: NotRequired[str]
    failures: Count
    failing_since: NotRequired[Moment]
    next_try: NotRequired[Moment]
    quarantined: Count


class Account(AccountInfo):
    ok: Literal[True]
    mailbox: NotRequired[MailboxHealth]


class Accounts(Done):
    accounts: list[AccountInfo]
    next_cursor: NotRequired[str]


class MessageInfo(TypedDict):
    """A message and its fate."""

    id: str
    pk: str
    tenant_id: str
    tenant_name: NotRequired[str]
    account_id: NotRequired[str]
    status: State
    priority: Annotated[int, Field(ge=0, le=3)]
    batch_code: NotRequired[str]
    attempts: Count
    deferred_ts: NotRequired[Moment]
    sent_ts: NotRequired[Moment]
    error_ts: NotRequired[Moment]
    error: NotRequired[str]
    is_pec: bool
    pec_status: NotRequired[pec.State]
    pec_recipients: NotRequired[list[CertifiedRecipientInfo]]
    refused_recipients: NotRequired[list[RefusedRecipientInfo]]
    bounce_type: NotRequired[Literal["hard", "soft"]]
    bounce_code: NotRequired[str]
    bounce_reason: NotRequired[str]
    bounce_ts: NotRequired[Moment]
    bounced_recipients: NotRequired[list[BouncedRecipientInfo]]
    reported_ts: NotRequired[Moment]
    created_at: Moment
    updated_at: Moment
    message: NotRequired[dict[str, Any]]


class HistoryInfo(EventInfo):
    """An event with the reference's names for what it says."""

    description: NotRequired[str]
    metadata: EventData
    reported_ts: NotRequired[Moment]


class MessageRecord(MessageInfo):
    history: NotRequired[list[HistoryInfo]]


class Message(MessageInfo):
    ok: Literal[True]


class Messages(Done):
    messages: list[MessageRecord]
    next_cursor: NotRequired[str]


class Events(Done):
    events: list[EventInfo]


class Cancelled(Done):
    status: Literal["cancelled"]


class SchemaFault(TypedDict):
    """One fault of a 422: where it is and what is wrong; the input is not echoed."""

    type: str
    loc: list[str | int]
    msg: str


class NothingAdded(TypedDict):
    """The detail of a 400 of add-messages."""

    error: str
    rejected: list[Rejection]


class Error(TypedDict):
    """Every answer that is not a success."""

    detail: str | list[SchemaFault] | NothingAdded
    code: str
    request_id: str
