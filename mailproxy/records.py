"""The values that cross the port of `store.py`: what is written, claimed, settled, reported and shown."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mailproxy.authorization import ClientAuth
from mailproxy.certified import Certified, CertifiedRecipient, Door
from mailproxy.looks import Look
from mailproxy.model import (
    IMAPS_PORT,
    Account,
    AccountCondition,
    AccountPk,
    BouncedRecipient,
    EventDetail,
    EventType,
    Instant,
    MessageId,
    OnUnknownOutcome,
    Priority,
    Seconds,
    State,
    Status,
    TenantPk,
)
from mailproxy.signing import Secrets


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A checked message. `payload` is its canonical JSON text; `due_at` None means now.

    `header_id` is the Message-ID where the client gave one.
    With `rejected` set (reason, code) it is recorded as an error and reported, never sent. `suppressed` are
    recipients it is not to be offered for. `contents` are the SHA-256 of the long content that it has with the store.
    """

    client_id: str
    account_pk: AccountPk | None
    priority: Priority
    payload: str = field(repr=False)
    batch_code: str | None = None
    due_at: Instant | None = None
    max_age: Seconds | None = None
    expires_at: Instant | None = None
    rejected: str | None = None
    header_id: str | None = None
    suppressed: "tuple[RecipientOutcome, ...]" = ()
    certified: Certified | None = None
    contents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Admission:
    """What messages are held against at the door: the tenant's accounts by id, and whether it has suppressions."""

    accounts: Mapping[str, Door]
    suppresses: bool


@dataclass(frozen=True, slots=True)
class Enqueued:
    """What became of one item: `message_id` when accepted or recorded, `refused` a code otherwise
    (`already_sent`, `being_sent`, `outcome_unknown`; for rejected items `exists`)."""

    client_id: str
    message_id: MessageId | None
    refused: str | None = None
    replaced: bool = False


@dataclass(frozen=True, order=True, slots=True)
class DueAccount:
    """An account with rows that are due (or were claimed by a process that is gone); `slot` is free to lease
    or already leased by this node."""

    account_pk: AccountPk
    slot: int


@dataclass(frozen=True, slots=True)
class DueAccounts:
    accounts: tuple[DueAccount, ...]
    next_due_in: Seconds | None


@dataclass(frozen=True, slots=True)
class Taken:
    """A lease taken; `unclean` when its former holder did not give it back, so that there may be rows to recover."""

    unclean: bool


@dataclass(frozen=True, slots=True)
class RecipientOutcome:
    """An exception row: envelope recipient `index` is settled (or waits) apart from its message."""

    index: int
    accepted: bool
    address: str
    code: int | None = None
    enhanced: str | None = None
    text: str | None = None
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message this process may prepare and offer. `attempt` counts from 1 and includes this one; `claim`
    counts claims and is never given back, so that an outcome settles the claim it belongs to and no other.

    A long payload does not come along: it is empty, and `left_behind` its length. `fetched` are the SHA-256 of the
    attachments at the first fetch, if there was one.
    """

    id: MessageId
    revision: int
    client_id: str
    attempt: int
    claim: int
    crashes: int
    suspect: bool
    priority: Priority
    accepted_at: Instant
    waited: Seconds
    expired: bool
    payload: str = field(repr=False)
    batch_code: str | None = None
    recipients: tuple[RecipientOutcome, ...] = ()
    left_behind: int = 0
    fetched: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """`lease_lost` ends the process. With nothing claimed, `wait` says when to ask again at the earliest
    (None: when something arrives). `limited`: rate limits apply; `rests`: one just put the account to rest;
    `above_limit`: the messages are to be refused for one; `fails`: the account's troubles in a row; `bereft`:
    somebody's lease of the account ended with nobody to take it: rows to recover, perhaps; `look`: what it left."""

    messages: tuple[Claimed, ...] = ()
    account_version: int = 0
    lease_lost: bool = False
    limited: bool = False
    rests: bool = False
    above_limit: bool = False
    wait: Seconds | None = None
    fails: int = 0
    bereft: bool = False
    look: Look | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a message: its queue row goes, the message gets `status`, an event is inserted; `refund` gives
    the attempt of the claim back."""

    id: MessageId
    revision: int
    attempt: int
    claim: int
    status: Status
    event: EventType
    detail: EventDetail
    recipients: tuple[RecipientOutcome, ...] = ()
    refund: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """Back to ready. `delay` None keeps the due time, `refund` gives the attempt back, `event` is reported."""

    id: MessageId
    revision: int
    attempt: int
    claim: int
    delay: Seconds | None = None
    refund: bool = False
    event: EventType | None = None
    detail: EventDetail | None = None
    recipients: tuple[RecipientOutcome, ...] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """`late` ids were no longer ours, and their 2xx turned `unknown` (or a pending retry) into `sent`."""

    settled: frozenset[MessageId]
    late: frozenset[MessageId] = frozenset()


@dataclass(frozen=True, slots=True)
class Rest:
    """How often an account failed in a row; `is_new` when its condition or its trouble was another before."""

    fails: int
    is_new: bool


@dataclass(frozen=True, slots=True)
class InDoubt:
    """A message whose process ended between intent and outcome, adopted by the new owner of its account."""

    id: MessageId
    revision: int
    client_id: str
    attempt: int
    claim: int
    accepted_at: Instant


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a dead predecessor left behind: `freed` rows are ready again, `poisoned` ones were failed after
    too many deaths during their preparation, `in_doubt` ones wait for the caller's policy, and `left` ones for
    the journal of another node."""

    freed: int
    poisoned: tuple[MessageId, ...]
    in_doubt: tuple[InDoubt, ...]
    left: int = 0


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as stored; its secrets, which never leave through the API, opened."""

    pk: TenantPk
    id: str
    name: str | None = None
    client_auth: ClientAuth = field(default_factory=ClientAuth)
    client_base_url: str | None = None
    client_sync_path: str | None = None
    client_attachment_path: str | None = None
    rate_limits: str | None = None
    large_file_config: str | None = None
    report_strict: bool = False
    report_format: str = "item"
    active: bool = True
    webhook_secrets: Secrets = ()
    url_set_by_tenant: bool = False
    suppress_bounces: bool = False
    large_file_secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    created_at: Instant = 0.0
    updated_at: Instant = 0.0
    switched_off: str | None = None
    switched_off_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class TenantWrite:
    """A full write of a tenant (upsert). `client_auth`, `webhook_secrets` and `large_file_secrets` None keep what is
    stored; `switch_on`: it is called again."""

    id: str
    name: str | None = None
    client_auth: ClientAuth | None = None
    client_base_url: str | None = None
    client_sync_path: str | None = None
    client_attachment_path: str | None = None
    rate_limits: str | None = None
    large_file_config: str | None = None
    report_strict: bool = False
    report_format: str = "item"
    active: bool = True
    webhook_secrets: Secrets | None = None
    large_file_secrets: Mapping[str, str] | None = field(default=None, repr=False)
    url_set_by_tenant: bool = False
    suppress_bounces: bool = False
    hourly_limit: int | None = None
    daily_limit: int | None = None
    switch_on: bool = True


@dataclass(frozen=True, slots=True)
class AccountWrite:
    """A full write of an account (upsert by tenant and id). A password that is None stays as it is stored."""

    id: str
    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    use_tls: bool | None = None
    tls_verify: bool = True
    tls_ca: str | None = None
    ttl: int = 300
    batch_size: int | None = None
    max_retries: int | None = None
    retry_delays: tuple[Seconds, ...] | None = None
    on_unknown_outcome: OnUnknownOutcome = OnUnknownOutcome.RETRY
    limit_per_minute: int | None = None
    limit_per_hour: int | None = None
    limit_per_day: int | None = None
    limit_behavior: str = "defer"
    host_set_by_tenant: bool = False
    is_pec_account: bool = False
    pec_address: str | None = None
    imap_host: str | None = None
    imap_port: int = IMAPS_PORT
    imap_user: str | None = None
    imap_password: str | None = field(default=None, repr=False)
    imap_folder: str = "INBOX"
    imap_ssl: bool | None = None
    imap_host_set_by_tenant: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """A rate-limit window as it stands: `next_at` is when a token comes free once `left` is 0."""

    name: str
    limit: int
    used: int
    left: int
    next_at: Instant | None


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account without its secret, with its condition."""

    account: Account
    password_set: bool
    limit_per_minute: int | None
    limit_per_hour: int | None
    limit_per_day: int | None
    condition: AccountCondition
    reason: str | None
    cause: str | None
    since: Instant | None
    next_try: Instant | None
    created_at: Instant
    updated_at: Instant
    windows: tuple[Window, ...] = ()
    imap_password_set: bool = False


@dataclass(frozen=True, slots=True)
class MessageView:
    """A message as listed. `refused` are the recipients the server would not take; mail that is certified has
    its recipients in `certified`."""

    id: MessageId
    client_id: str
    tenant_id: str
    account_id: str | None
    state: State
    priority: Priority
    batch_code: str | None
    deferred_until: Instant | None
    done_at: Instant | None
    error: str | None
    reported_at: Instant | None
    created_at: Instant
    updated_at: Instant
    attempts: int
    tenant_name: str | None = None
    payload: str | None = field(default=None, repr=False)
    refused: tuple[RecipientOutcome, ...] = ()
    bounced: tuple[BouncedRecipient, ...] = ()
    certified: tuple[CertifiedRecipient, ...] = ()


@dataclass(frozen=True, slots=True)
class EventView:
    event_id: int
    event_type: EventType
    event_ts: Instant
    detail: EventDetail
    reported: bool


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """`newest_first` turns the order of the list round, which else begins with the oldest."""

    active_only: bool = False
    state: State | None = None
    account_id: str | None = None
    batch_code: str | None = None
    since: Instant | None = None
    until: Instant | None = None
    text: str | None = None
    include_payload: bool = True
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class Suspensions:
    """The tenant's suspended batch codes, `*` for all, and its messages neither sent nor failed."""

    codes: tuple[str, ...]
    pending: int


@dataclass(frozen=True, slots=True)
class Deleted:
    removed: tuple[str, ...]
    being_sent: tuple[str, ...]
