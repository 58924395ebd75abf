"""What an operator asks of one message: everything that may keep it from going, read in one snapshot."""

from dataclasses import dataclass

from mailproxy.figures import ProcessView, SyncStanding
from mailproxy.model import Instant
from mailproxy.records import AccountView, EventView, MessageView, Window

EVERYBODY = 0
WHOLE_TENANT = ""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds a queue row or a lease; `seen_at` None when nothing is known of it any more."""

    owner: str | None
    node: str | None
    seen_at: Instant | None
    left_at: Instant | None
    lease_until: Instant | None = None


@dataclass(frozen=True, slots=True)
class QueueRow:
    """Where a waiting message stands. `phase`: 0 waits, 1 is being prepared, 2 has an intent; `ahead` counts
    messages of its account that are due and come before it, no further than `MOST_AHEAD`."""

    due_at: Instant
    expires_at: Instant
    phase: int
    attempts: int
    crashes: int
    is_suspect: bool
    ahead: int
    holder: Holder | None


MOST_AHEAD = 10_000


@dataclass(frozen=True, slots=True)
class Suspension:
    """`tenant` 0 stands for all, batch `""` for all of the tenant."""

    tenant: int
    batch_code: str
    since: Instant


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A report that was refused by itself: it waits for `next_try_at`, or was given up at `dead_at`."""

    event_id: int
    cause: str
    tries: int
    next_try_at: Instant | None
    dead_at: Instant | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """At the database's time `now`; `row` is None once the message is finished."""

    now: Instant
    message: MessageView
    row: QueueRow | None
    events: tuple[EventView, ...]
    undelivered: tuple[Undelivered, ...]
    account: AccountView | None
    tenant_windows: tuple[Window, ...]
    suspensions: tuple[Suspension, ...]
    leases: tuple[Holder, ...]
    processes: tuple[ProcessView, ...]
    sync: SyncStanding
