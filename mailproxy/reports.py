"""What tenants are told: calls, reports, and those that were not taken, held for a while or dead."""

from dataclasses import dataclass

from mailproxy.authorization import ClientAuth
from mailproxy.model import EventDetail, EventType, Instant, MessageId, Priority, Seconds, TenantPk
from mailproxy.signing import Secrets


@dataclass(frozen=True, slots=True)
class TenantCall:
    """A tenant to call now; `url` None: the global fallback; `guarded`: only where tenants may point; the last
    `gone` of its `fails` calls in a row were answered 410."""

    tenant_pk: TenantPk
    tenant_id: str
    url: str | None
    auth: ClientAuth
    fails: int
    report_strict: bool
    report_format: str
    guarded: bool = False
    webhook_secrets: Secrets = ()
    gone: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """One event as it is reported (CONTRACT §6)."""

    event_id: int
    event_type: EventType
    event_ts: Instant
    message_id: MessageId
    client_id: str
    account_id: str | None
    priority: Priority
    batch_code: str | None
    detail: EventDetail
    tries: int = 0


@dataclass(frozen=True, slots=True)
class CallSettled:
    """How a call ended. `next_in` None: when the next event or the interval says; `fails` in a row, the last `gone`
    of them 410; `failure`: why the whole call failed; `muted_until` mutes only idle calls; `called` resets the idle
    interval; `switch_off` stops calling."""

    fails: int
    called: bool
    gone: int = 0
    failure: str | None = None
    next_in: Seconds | None = None
    muted_until: Instant | None = None
    switch_off: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A report that was refused by itself: it is told again after `wait`, whatever becomes of the others."""

    event_id: int
    wait: Seconds
    cause: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A report set aside at `dead_at`, having failed since `since`; `tries` counts refusals of it by itself."""

    event_id: int
    event_type: EventType
    event_ts: Instant
    detail: EventDetail
    tenant_id: str
    client_id: str
    account_id: str | None
    cause: str
    tries: int
    since: Instant
    dead_at: Instant


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters are meant: of these events, of events from `since` on, of events before `until`."""

    events: tuple[int, ...] | None = None
    since: Instant | None = None
    until: Instant | None = None
