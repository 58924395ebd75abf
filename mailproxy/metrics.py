"""Every metric, declared once. Processes count into files of their role and slot; a scrape adds them up.

`set_up` joins a process to the directory its node's processes share; without it counts stay in memory.
What the database knows better (queue depths, conditions, processes) comes from a `Snapshot` at each scrape.
"""

import fcntl
import itertools
import operator
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from mailproxy.figures import AccountGauge, Overview, ProcessView, QueueDepth
from mailproxy.model import AccountCondition, FetchMode, Priority

__all__ = [
    "CONTENT_TYPE",
    "AccountMetrics",
    "Snapshot",
    "account",
    "attachment_bytes",
    "cache",
    "callback",
    "clear",
    "exposition",
    "handover",
    "http_request",
    "large_files",
    "pec_events",
    "queue_wait",
    "set_up",
]

_WAITS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 900, 3600, 14400, 86400)
_DIALOGUES = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_STATES = {AccountCondition.OK: 0, AccountCondition.BACKING_OFF: 1, AccountCondition.BREAKER_OPEN: 2}


@dataclass(frozen=True, slots=True)
class AccountMetrics:
    """The series of one account, bound once so that counting is cheap."""

    sent: Counter
    errors: Counter
    deferred: Counter
    rate_limited: Counter
    unknown: Counter
    reconnects: Counter
    troubles: Counter
    connections: Gauge


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the database said at a scrape."""

    overview: Overview
    depths: Sequence[QueueDepth] = ()
    accounts: Sequence[AccountGauge] = ()
    processes: Sequence[ProcessView] = ()
    mailboxes_failing: int = 0


class _Declared:
    """All metrics that processes count themselves."""

    def __init__(self, *, tenant_label: bool) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.tenant_label = tenant_label
        self.registry = CollectorRegistry()
        self.bounces = self._bounces()
        self.bound: dict[tuple[str, str], AccountMetrics] = {}
        self.sent = self._counter("sent", "Messages taken by the server of their account.")
        self.errors = self._counter("errors", "Messages given up: refused, or out of retries.")
        self.deferred = self._counter("deferred", "Attempts put off, by a temporary failure or a rate limit.")
        self.rate_limited = self._counter("rate_limited", "Times a rate limit held mail back.")
        self.unknown = self._counter("unknown_outcomes", "Hand-overs whose final reply was never read.")
        self.reconnects = self._counter(
            "smtp_reconnects", "SMTP connections opened in place of one that broke."
        )
        self.troubles = self._counter(
            "account_troubles", "Times an account came into another trouble: refused login, no server, TLS."
        )
        self._count_attachments()
        self.pec_events = self._by("type", "pec_events", "Events of certified mail, by type.")
        self.connections = Gauge(
            "gmp_smtp_connections",
            "Open SMTP connections.",
            self._account_labels(),
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.queue_wait = self._histogram(
            "queue_wait", "From the moment a message was due to its claim.", ("priority",), _WAITS
        )
        self.handover = self._histogram(
            "handover", "One hand-over to a server, from claim to outcome.", ("outcome",), _DIALOGUES
        )
        self.callback = self._histogram(
            "callback", "One call of a tenant's sync endpoint.", ("result",), _DIALOGUES
        )
        self.http_request = self._histogram(
            "http_request", "One request of the API.", ("method", "route", "status"), _DIALOGUES
        )

    def _count_attachments(self) -> None:
        self.attachment_bytes = Counter(
            "gmp_attachment_bytes_total", "Octets of attachments fetched.", ("mode",), registry=self.registry
        )
        self.cache_hits = Counter(
            "gmp_cache_hits_total", "Attachments found in the cache.", registry=self.registry
        )
        self.cache_misses = Counter(
            "gmp_cache_misses_total", "Attachments not found in the cache.", registry=self.registry
        )
        self.large_files = Counter(
            "gmp_large_files_total",
            "Large files and what became of them.",
            ("result",),
            registry=self.registry,
        )

    def _bounces(self) -> Counter:
        text = "Mails that came back, a bounce once for each recipient, by what they were."
        return Counter("gmp_bounces_total", text, ("type",), registry=self.registry)

    def _account_labels(self) -> tuple[str, ...]:
        return ("tenant_id", "account_id") if self.tenant_label else ("account_id",)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"gmp_{name}_total", text, self._account_labels(), registry=self.registry)

    def _by(self, label: str, name: str, text: str) -> Counter:
        return Counter(f"gmp_{name}_total", text, (label,), registry=self.registry)

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]
    ) -> Histogram:
        return Histogram(f"gmp_{name}_seconds", text, labels, registry=self.registry, buckets=buckets)

    def account(self, tenant_id: str, account_id: str) -> AccountMetrics:
        known = self.bound.get((tenant_id, account_id))
        if known is None:
            labels = (tenant_id, account_id) if self.tenant_label else (account_id,)
            known = self.bound[tenant_id, account_id] = AccountMetrics(
                sent=self.sent.labels(*labels),
                errors=self.errors.labels(*labels),
                deferred=self.deferred.labels(*labels),
                rate_limited=self.rate_limited.labels(*labels),
                unknown=self.unknown.labels(*labels),
                reconnects=self.reconnects.labels(*labels),
                troubles=self.troubles.labels(*labels),
                connections=self.connections.labels(*labels),
            )
        return known


class _Process:
    """Who this process is among those that share the directory."""

    def __init__(self) -> None:
        self.directory: Path | None = None
        self.identity = ""
        self.joined: tuple[int, str] | None = None
        self.lock: int | None = None
        self.tenant_label = True
        self._declared: _Declared | None = None

    @property
    def declared(self) -> _Declared:
        if self._declared is None:
            self._declared = _Declared(tenant_label=self.tenant_label)
        return self._declared

    def join(self, directory: Path, role_slot: str, *, tenant_label: bool) -> None:
        identity, lock = _free_identity(directory, role_slot)
        if directory != self.directory:
            values.close_all_multiprocess_files()  # type: ignore[no-untyped-call]
            values.ValueClass = values.MultiProcessValue(lambda: self.identity)  # type: ignore[no-untyped-call]
            self._declared = None
        if self.lock is not None:
            os.close(self.lock)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
        self.directory, self.tenant_label = directory, tenant_label
        self.identity, self.lock = identity, lock
        self.joined = (os.getpid(), role_slot)
        for stale in directory.glob(f"gauge_*_{self.identity}.db"):
            stale.unlink()


_process = _Process()


def set_up(directory: Path, role_slot: str, *, tenant_label: bool = True) -> None:
    """Count into `directory` under a name such as `sender-3`; needed anew in every forked process.

    The next process of that name counts on where this one ended. While one of that name still lives, a
    second one gets a name beside it, so nobody ever writes into another's files.
    """
    if not re.fullmatch(r"[A-Za-z0-9-]+", role_slot):
        raise ValueError("role and slot are letters, digits and dashes: they become part of file names")
    if directory == _process.directory and _process.joined == (os.getpid(), role_slot):
        return
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _process.join(directory, role_slot, tenant_label=tenant_label)


def clear(directory: Path) -> None:
    """Forget what ended processes counted; for the start of a node, before any of its processes runs.

    Those that live go on: the other half of a node, or what a killed one left draining.
    """
    for path in itertools.chain(directory.glob("*.db"), directory.glob("*.lock")):
        if not _lives(directory, path.stem.rpartition("_")[2]):
            path.unlink(missing_ok=True)


def account(tenant_id: str, account_id: str) -> AccountMetrics:
    """The account's series; they begin at zero with the first call."""
    return _process.declared.account(tenant_id, account_id)


def pec_events(kind: str) -> Counter:
    """By type of event: pec_acceptance, pec_relay, pec_delivery, pec_warning, pec_error, pec_timeout."""
    return _process.declared.pec_events.labels(kind)


def queue_wait(priority: Priority) -> Histogram:
    return _process.declared.queue_wait.labels(priority.name.lower())


def handover(outcome: str) -> Histogram:
    """By the name of the outcome: sent, deferred, refused, unknown, account_trouble, withheld."""
    return _process.declared.handover.labels(outcome)


def attachment_bytes(mode: FetchMode, octets: int) -> None:
    _process.declared.attachment_bytes.labels(mode.value).inc(octets)


def cache(*, is_hit: bool) -> None:
    declared = _process.declared
    (declared.cache_hits if is_hit else declared.cache_misses).inc()


def large_files(result: str) -> None:
    """By result: stored, failed, downloaded, removed."""
    _process.declared.large_files.labels(result).inc()


def callback(result: str) -> Histogram:
    """By result: acknowledged, refused, failed."""
    return _process.declared.callback.labels(result)


def bounces(kind: str) -> Counter:
    """By type: hard, soft, delay, complaint, delivered, auto-reply, none, unmatched, unproven, quarantined."""
    return _process.declared.bounces.labels(kind)


def http_request(method: str, route: str, status: int) -> Histogram:
    """`route` is the pattern of the route table, never the path a client sent."""
    return _process.declared.http_request.labels(method, route, status)


def exposition(snapshot: Snapshot | None) -> bytes:
    """All metrics in Prometheus' text format; without a snapshot (no database) the counted ones alone."""
    return generate_latest(_Scrape(snapshot))


class _Scrape(Collector):
    def __init__(self, snapshot: Snapshot | None) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        directory = _process.directory
        counted: Iterable[Metric] = (
            MultiProcessCollector.merge(_readable(directory))  # type: ignore[no-untyped-call]
            if directory is not None
            else _process.declared.registry.collect()
        )
        read = _from_database(self._snapshot) if self._snapshot else ()
        return sorted([*counted, *read], key=operator.attrgetter("name"))


def _from_database(snapshot: Snapshot) -> Iterator[Metric]:
    overview, accounts = snapshot.overview, snapshot.accounts
    depths = [(_labels(d, priority=d.priority.name.lower()), d) for d in snapshot.depths]
    yield _gauge("pending_messages", "Messages neither sent nor failed.", [({}, overview.pending)])
    yield _gauge("reports_pending", "Events no tenant acknowledged yet.", [({}, overview.reports_pending)])
    yield _gauge("reports_dead", "Events set aside as dead letters.", [({}, overview.reports_dead)])
    yield _gauge(
        "tenants_switched_off",
        "Tenants that are not called any more because their endpoint is gone.",
        [({}, overview.switched_off)],
    )
    yield _gauge(
        "callback_lag_seconds",
        "Age of the oldest event that is not acknowledged.",
        [({}, overview.oldest_report_age or 0.0)],
    )
    yield _gauge("mailboxes_failing", "Mailboxes that cannot be read.", [({}, snapshot.mailboxes_failing)])
    yield _gauge("queue_depth", "Messages waiting.", [(labels, d.depth) for labels, d in depths])
    yield _gauge(
        "queue_oldest_age_seconds",
        "Age of the oldest waiting message.",
        [(labels, d.oldest_age) for labels, d in depths],
        max,
    )
    yield _gauge(
        "account_state",
        "0: works, 1: backing off, 2: breaker open.",
        [(_labels(a), _STATES[a.condition]) for a in accounts],
        max,
    )
    yield _gauge(
        "limit_left",
        "Messages the account's tightest rate limit still lets through.",
        [(_labels(a), a.limit_left) for a in accounts if a.limit_left is not None],
        min,
    )
    yield _gauge(
        "processes", "Living processes.", [({"node": p.node, "role": p.role}, 1) for p in snapshot.processes]
    )


def _labels(of: QueueDepth | AccountGauge, **more: str) -> dict[str, str]:
    tenant = {"tenant_id": of.tenant_id} if _process.tenant_label else {}
    return {**tenant, "account_id": of.account_id, **more}


def _gauge(
    name: str,
    text: str,
    samples: Iterable[tuple[dict[str, str], float]],
    combine: Callable[[float, float], float] = operator.add,
) -> Metric:
    """Samples that differ in nothing shown (tenants, when their label is off) become one."""
    combined: dict[tuple[tuple[str, str], ...], float] = {}
    for labels, value in samples:
        key = tuple(labels.items())
        combined[key] = combine(combined[key], value) if key in combined else value
    family = GaugeMetricFamily(f"gmp_{name}", text)
    for key, value in combined.items():
        family.add_sample(f"gmp_{name}", dict(key), value)
    return family


def _free_identity(directory: Path, role_slot: str) -> tuple[str, int]:
    """The first name nobody alive uses, and the lock that keeps it ours until we end."""
    names = itertools.chain([role_slot], (f"{role_slot}-{number}" for number in itertools.count(2)))
    return next((name, lock) for name in names if (lock := _lock(directory, name)) is not None)


def _lock(directory: Path, identity: str) -> int | None:
    lock = os.open(directory / f"{identity}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _readable(directory: Path) -> list[str]:
    """The value files, without those just being made and without gauges of processes that ended."""
    counts = [path for path in directory.glob("*.db") if not path.name.startswith("gauge_")]
    gauges = [
        path for path in directory.glob("gauge_*.db") if _lives(directory, path.stem.rpartition("_")[2])
    ]
    return [str(path) for path in [*counts, *gauges] if path.exists() and path.stat().st_size]


def _lives(directory: Path, identity: str) -> bool:
    lock = os.open(directory / f"{identity}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
