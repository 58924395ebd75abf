"""Figures of the whole service, as /status, /metrics and `stats` show them."""

from dataclasses import dataclass

from mailproxy.model import AccountCondition, Epoch, Instant, Priority, Seconds


@dataclass(frozen=True, slots=True)
class QueueDepth:
    tenant_id: str
    account_id: str
    priority: Priority
    depth: int
    oldest_age: Seconds


@dataclass(frozen=True, slots=True)
class ProcessView:
    epoch: Epoch
    owner: str
    node: str
    role: str
    started_at: Instant
    seen_at: Instant


@dataclass(frozen=True, slots=True)
class Overview:
    """What /status and /metrics show; `pending` counts messages neither finished nor in doubt, `switched_off`
    tenants that are not called any more."""

    active: bool
    pending: int
    oldest_pending_age: Seconds | None
    tenants: int
    accounts: int
    reports_pending: int
    oldest_report_age: Seconds | None
    reports_dead: int = 0
    switched_off: int = 0


@dataclass(frozen=True, slots=True)
class Totals:
    """All messages kept, by fate. Counting them reads the whole table: for people, not for a scrape."""

    messages: int
    sent: int
    error: int
    unknown: int


@dataclass(frozen=True, slots=True)
class SyncStanding:
    """How the calls to a tenant stand at the database's time `now`; `pending` are its events not yet acknowledged,
    `dead` those set aside, `failure` why the last call failed."""

    tenant_id: str
    name: str | None
    active: bool
    client_base_url: str | None
    now: Instant
    last_call_at: Instant | None
    muted_until: Instant | None
    next_try_at: Instant | None
    fails: int
    switched_off: str | None
    poked: bool
    pending: int
    dead: int = 0
    failure: str | None = None

    @property
    def is_muted(self) -> bool:
        return self.muted_until is not None and self.muted_until > self.now

    def is_due(self, interval: Seconds, *, fallback: bool) -> bool:
        """Whether it is to be called now: asked for, with something to tell, or idle for `interval` seconds.

        `fallback`: tenants without a URL are called too.
        """
        if self.switched_off is not None or not (self.client_base_url or fallback):
            return False
        if self.poked:
            return True
        if self.next_try_at is not None and self.next_try_at > self.now:
            return False
        is_idle = self.last_call_at is None or self.last_call_at + interval <= self.now
        return self.pending > 0 or (self.active and is_idle and not self.is_muted)


@dataclass(frozen=True, slots=True)
class AccountGauge:
    tenant_id: str
    account_id: str
    condition: AccountCondition
    limit_left: int | None
