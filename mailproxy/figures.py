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
    """What /status and /metrics show; `pending` counts messages neither finished nor in doubt."""

    active: bool
    pending: int
    oldest_pending_age: Seconds | None
    tenants: int
    accounts: int
    reports_pending: int
    oldest_report_age: Seconds | None


@dataclass(frozen=True, slots=True)
class Totals:
    """All messages kept, by fate. Counting them reads the whole table: for people, not for a scrape."""

    messages: int
    sent: int
    error: int
    unknown: int


@dataclass(frozen=True, slots=True)
class AccountGauge:
    tenant_id: str
    account_id: str
    condition: AccountCondition
    limit_left: int | None
