"""What workers count reaches a scrape: each process counts for itself, one of them answers."""

import signal
from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from tests.process.conftest import add_tenant
from tests.process.peers import SmtpServer, TenantEndpoint, letters
from tests.process.service import Service, until

COUNTED = ("sent", "errors", "deferred", "rate_limited", "unknown_outcomes", "smtp_reconnects")
TIMED = ("queue_wait", "handover", "callback", "http_request")
STANDING = (
    "pending_messages",
    "queue_oldest_age_seconds",
    "smtp_connections",
    "reports_pending",
    "callback_lag_seconds",
    "processes",
)
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(service: Service) -> Series:
    text = service.client.get("/metrics").text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def counts(service: Service, tenant: str) -> dict[str, float]:
    labels = frozenset({"tenant_id": tenant, "account_id": "main"}.items())
    found = scraped(service)
    return {name: found.get((f"gmp_{name}_total", labels), 0.0) for name in ("sent", "errors", "deferred")}


def observed(service: Service) -> Counter[str]:
    """How often each histogram was observed, whatever its labels."""
    found: Counter[str] = Counter()
    for (name, _), value in scraped(service).items():
        if name.endswith("_seconds_count"):
            found[name] += int(value)
    return found


def test_the_metrics_say_what_the_far_ends_saw_and_a_reload_loses_none(
    service: Service, tenant: str, smtp: SmtpServer, endpoint: TenantEndpoint
) -> None:
    before = observed(service)
    service.post(letters(tenant, "main", range(12)))
    service.post(letters(tenant, "main", range(12, 15), to="refuse550@example.com"))
    service.post(letters(tenant, "main", range(15, 16), to="defer451x2@example.com"))
    until(lambda: len(endpoint.ids(tenant, "sent", "error")) == 16, so=service.last_words)
    seen = {"sent": float(smtp.times(tenant).total()), "errors": 3.0, "deferred": 2.0}
    assert seen["sent"] == 13
    until(lambda: counts(service, tenant) == seen, so=lambda: str(counts(service, tenant)))
    for name, least in (("queue_wait", 18), ("handover", 18), ("callback", 1), ("http_request", 3)):
        key = f"gmp_{name}_seconds_count"
        assert observed(service)[key] - before[key] >= least, key
    senders = service.pids("sender")
    service.signal(signal.SIGHUP)
    until(lambda: service.pids("sender") and not set(senders) & set(service.pids("sender")))
    service.post(letters(tenant, "main", range(16, 18)))
    until(lambda: len(smtp.times(tenant)) == 15, so=service.last_words)
    until(lambda: counts(service, tenant) == seen | {"sent": 15.0}, so=lambda: str(counts(service, tenant)))


def test_connections_that_are_open_and_those_opened_in_place_of_broken_ones_are_counted(
    service: Service, tenant: str, smtp: SmtpServer
) -> None:
    labels = frozenset({"tenant_id": tenant, "account_id": "main"}.items())

    def connections() -> tuple[float | None, float | None]:
        found = scraped(service)
        return found.get(("gmp_smtp_connections", labels)), found.get(("gmp_smtp_reconnects_total", labels))

    service.post(letters(tenant, "main", range(1), to="dropdot@example.com"))
    until(lambda: connections() == (0.0, 0.0) and service.until_final(tenant), so=service.last_words)
    service.post(letters(tenant, "main", range(1, 2)))
    until(lambda: connections() == (1.0, 1.0), so=lambda: str(connections()))
    assert smtp.times(tenant).total() == 2


def test_every_metric_of_the_service_has_a_sample(
    service: Service, smtp: SmtpServer, endpoint: TenantEndpoint
) -> None:
    tenant = add_tenant(service, smtp, endpoint, limit_per_hour=5)
    service.post(letters(tenant, "main", range(1)))
    until(lambda: endpoint.ids(tenant, "sent"), so=service.last_words)
    service.call("POST", "/commands/suspend", tenant_id=tenant)
    service.post(letters(tenant, "main", range(1, 2), priority="high"))
    found = scraped(service)
    labels = {"tenant_id": tenant, "account_id": "main"}
    assert found["gmp_limit_left", frozenset(labels.items())] == 4
    assert found["gmp_queue_depth", frozenset({**labels, "priority": "high"}.items())] == 1
    assert found["gmp_account_state", frozenset(labels.items())] == 0
    names = {name for name, _ in found}
    assert names >= {f"gmp_{name}_total" for name in COUNTED}
    assert names >= {f"gmp_{name}_seconds_count" for name in TIMED}
    assert names >= {f"gmp_{name}" for name in STANDING}


def test_doubts_limits_and_troubles_are_counted_where_they_happen(
    service: Service, smtp: SmtpServer, endpoint: TenantEndpoint
) -> None:
    doubtful = add_tenant(service, smtp, endpoint)
    limited = add_tenant(service, smtp, endpoint, limit_per_hour=1)
    troubled = add_tenant(service, smtp, endpoint, use_tls=True)
    service.post(letters(doubtful, "main", range(1), to="dropdot@example.com"))
    service.post(letters(limited, "main", range(2)))
    service.post(letters(troubled, "main", range(1)))
    wanted = {(doubtful, "unknown_outcomes"), (limited, "rate_limited"), (troubled, "account_troubles")}

    def counted() -> set[tuple[str, str]]:
        found = scraped(service)
        return {
            (tenant, name)
            for tenant, name in wanted
            if found.get(
                (f"gmp_{name}_total", frozenset({"tenant_id": tenant, "account_id": "main"}.items()))
            )
        }

    until(lambda: counted() == wanted, so=lambda: f"{counted()}\n{service.last_words()}")
    state = frozenset({"tenant_id": troubled, "account_id": "main"}.items())
    until(lambda: scraped(service)["gmp_account_state", state] > 0, so=service.last_words)
