"""What the API answers, as frozen values; fields it does not tell are None.

`raw` is the answer as it came, with the fields that a newer server may have added.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from mailproxy.client.certified import CertifiedRecipient
from mailproxy.client.errors import Rejection
from mailproxy.client.reading import each as _each
from mailproxy.client.reading import raw as _raw

T = TypeVar("T")

_ENDED = frozenset(["sent", "error", "unknown", "cancelled", "expired"])


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; `cursor` leads to the next one, None after the last."""

    items: Sequence[T]
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    status: str
    version: str | None = None
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class Status:
    """The service in short; `processes` counts them by role."""

    active: bool
    pending: int | None = None
    oldest_pending_age: float | None = None
    reports_pending: int | None = None
    reports_dead: int | None = None
    processes: Mapping[str, int] = field(default_factory=dict)
    version: str | None = None
    node: str | None = None
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class Stats:
    """Everything counted; `messages` by fate: total, pending, sent, error, unknown."""

    tenants: int
    accounts: int
    messages: Mapping[str, int]
    reports_pending: int
    active: bool
    reports_dead: int = 0
    tenants_switched_off: int = 0
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class Suspension:
    """What is suspended now: `*` for all of the tenant. With `tenant_id` None the whole scheduler was meant."""

    tenant_id: str | None = None
    batch_code: str | None = None
    suspended_batches: Sequence[str] = ()
    pending_messages: int | None = None
    active: bool | None = None
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A queued message; it is not sent to its `suppressed` recipients."""

    id: str
    pk: str
    suppressed: Sequence[str] = ()
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a call of add-messages."""

    queued: int
    accepted: Sequence[Acceptance] = _each(Acceptance)
    rejected: Sequence[Rejection] = _each(Rejection)
    warnings: Sequence[str] = ()
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class Removed:
    """How many messages are gone, and the ids that could not go."""

    removed: int
    not_found: Sequence[str] = ()
    being_sent: Sequence[str] = ()
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class RefusedRecipient:
    address: str
    code: int | None = None
    enhanced: str | None = None
    text: str | None = None
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a message; `event_data` says what its type does not."""

    event_id: int
    event_type: str
    event_ts: float
    event_data: Mapping[str, Any] = field(default_factory=dict)
    reported: bool | None = None
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of a message's fate; it would go, or be reported, but for what `blocks`, maybe only `until` then.

    `code` is stable, as is `action`, which says what `remedy` does, to `object`.
    """

    code: str
    text: str
    blocks: bool
    remedy: str | None = None
    action: str | None = None
    object: str | None = None
    until: float | None = None
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a message has not gone, or what became of it."""

    id: str
    status: str
    findings: Sequence[Finding] = _each(Finding)
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class Suppression:
    """An address that mail is not sent to; `event_id` is that of the bounce or complaint it was listed for."""

    address: str
    reason: str
    created_at: float
    event_id: int | None = None
    expires_at: float | None = None
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class RefusedEntry:
    """An entry that was not added, and why."""

    address: str
    code: str
    reason: str
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class Suppressed:
    """How many entries are new, how many were listed already, and which were not added."""

    added: int
    updated: int
    refused: Sequence[RefusedEntry] = _each(RefusedEntry)
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event whose report was set aside at `dead_ts`, having failed since `failing_since` for `cause`; the client
    refused it by itself `refusals` times. `id` is the message's."""

    event_id: int
    event_type: str
    event_ts: float
    tenant_id: str
    id: str
    cause: str
    failing_since: float
    dead_ts: float
    refusals: int = 0
    account_id: str | None = None
    event_data: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many are reported again; `not_found` are the given events that are no dead letters."""

    replayed: int
    not_found: Sequence[int] = ()
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class Discarded:
    """How many will not be reported; `not_found` are the given events that are no dead letters."""

    discarded: int
    not_found: Sequence[int] = ()
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class BouncedRecipient:
    """A recipient whose copy came back after it had been sent; `type` is hard or soft."""

    address: str
    type: str
    code: str | None = None
    status: str | None = None
    reason: str | None = None
    ts: float | None = None
    verified: bool = False
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class Message:
    """A message and its fate: `status` is a `mailproxy.model.State`, `message` what was submitted."""

    id: str
    status: str
    priority: int
    pk: str | None = None
    tenant_id: str | None = None
    account_id: str | None = None
    batch_code: str | None = None
    attempts: int = 0
    deferred_ts: float | None = None
    sent_ts: float | None = None
    error_ts: float | None = None
    error: str | None = None
    is_pec: bool = False
    pec_status: str | None = None
    pec_recipients: Sequence[CertifiedRecipient] = _each(CertifiedRecipient)
    refused_recipients: Sequence[RefusedRecipient] = _each(RefusedRecipient)
    bounce_type: str | None = None
    bounce_code: str | None = None
    bounce_reason: str | None = None
    bounce_ts: float | None = None
    bounced_recipients: Sequence[BouncedRecipient] = _each(BouncedRecipient)
    reported_ts: float | None = None
    created_at: float | None = None
    updated_at: float | None = None
    message: Mapping[str, Any] = field(default_factory=dict, repr=False)
    history: Sequence[Event] = _each(Event)
    raw: Mapping[str, Any] = _raw()

    @property
    def has_ended(self) -> bool:
        """Nothing more happens by itself; `unknown` waits for a decision (see `messages.resolve`)."""
        return self.status in _ENDED

    @property
    def was_sent(self) -> bool:
        return self.status == "sent"


@dataclass(frozen=True, slots=True)
class Account:
    """An SMTP account without its secrets, and how it fares: `state` is ok, backing_off or breaker_open.

    `mailbox` says how the reading of its mailbox goes; lists of accounts leave it out.
    """

    id: str
    tenant_id: str
    host: str
    port: int
    user: str | None = None
    password_set: bool = False
    use_tls: bool | None = None
    tls_verify: bool = True
    tls_ca: str | None = None
    ttl: int = 300
    batch_size: int | None = None
    max_retries: int | None = None
    retry_delays: Sequence[float] | None = None
    on_unknown_outcome: str = "retry"
    limit_per_minute: int | None = None
    limit_per_hour: int | None = None
    limit_per_day: int | None = None
    limit_behavior: str = "defer"
    is_pec_account: bool = False
    pec_address: str | None = None
    imap_host: str | None = None
    imap_port: int | None = None
    imap_user: str | None = None
    imap_password_set: bool = False
    imap_folder: str | None = None
    imap_ssl: bool | None = None
    state: str = "ok"
    state_reason: str | None = None
    state_cause: str | None = None
    state_since: float | None = None
    state_remedy: str | None = None
    next_try: float | None = None
    limits: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    mailbox: Mapping[str, Any] = field(default_factory=dict)
    created_at: float | None = None
    updated_at: float | None = None
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant without its secrets."""

    id: str
    name: str | None = None
    client_base_url: str | None = None
    client_sync_path: str | None = None
    client_attachment_path: str | None = None
    client_auth: Mapping[str, Any] = field(default_factory=dict)
    rate_limits: Mapping[str, int] = field(default_factory=dict)
    large_file_config: Mapping[str, Any] | None = None
    webhook_secret_set: bool = False
    webhook_secret_previous_until: float | None = None
    switched_off: str | None = None
    switched_off_since: float | None = None
    report_strict: bool = False
    report_format: str = "item"
    suppress_bounces: bool = False
    active: bool = True
    created_at: float | None = None
    updated_at: float | None = None
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class Stored:
    """A tenant was stored; `api_key` is told only when it is new, and only this once."""

    api_key: str | None = field(default=None, repr=False)
    warnings: Sequence[str] = ()
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class WebhookSecret:
    """`webhook_secret` is told when the server made it, and only this once."""

    webhook_secret: str | None = field(default=None, repr=False)
    previous_until: float | None = None
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class Standing:
    """How the calls to a tenant's application stand."""

    id: str
    active: bool
    next_sync_due: bool
    in_dnd: bool
    name: str | None = None
    client_base_url: str | None = None
    last_sync_ts: float | None = None
    dnd_until: float | None = None
    next_try: float | None = None
    failures: int = 0
    failure: str | None = None
    reports_pending: int = 0
    reports_dead: int = 0
    switched_off: str | None = None
    raw: Mapping[str, Any] = _raw()
