"""Metrics: processes of one name share few files; the dead keep their counts and lose their gauges."""

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mailproxy.metrics import clear, set_up

PRELUDE = """
import os, signal, sys
from pathlib import Path
from mailproxy import metrics
directory = Path(sys.argv[1])

def child(name, act):
    ready, tell = os.pipe()
    until_parent_ends, held = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(held)
        metrics.set_up(directory, name)
        act(metrics.account("acme", "main"))
        os.write(tell, b"x")
        os._exit(os.read(until_parent_ends, 1) != b"")
    os.read(ready, 1)
    for end_of_pipe in (ready, tell, until_parent_ends):
        os.close(end_of_pipe)
    return pid

def end(*pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

def show():
    sys.stdout.write(metrics.exposition(None).decode())
"""


def output(script: str, directory: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script, str(directory)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(script: str, directory: Path) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return samples(output(script, directory))


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


MAIN = {"tenant_id": "acme", "account_id": "main"}


def test_processes_of_one_name_restarted_many_times_keep_few_files_and_every_count(tmp_path: Path) -> None:
    found = run(
        """
metrics.set_up(directory, "maintenance")
for _ in range(60):
    end(*[child("sender-1", lambda series: series.sent.inc(1.5)) for _ in range(2)])
    end(*[child("sender-2", lambda series: series.errors.inc()) for _ in range(2)])
show()
""",
        tmp_path,
    )
    assert found[key("gmp_sent_total", **MAIN)] == 180
    assert found[key("gmp_errors_total", **MAIN)] == 120
    assert len(list(tmp_path.glob("*.db"))) <= 9
    clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_two_living_processes_of_one_name_never_share_a_file(tmp_path: Path) -> None:
    found = run(
        """
metrics.set_up(directory, "api")
alive = [child("api", lambda series: [series.sent.inc() for _ in range(1000)]) for _ in range(3)]
show()
end(*alive)
""",
        tmp_path,
    )
    assert found[key("gmp_sent_total", **MAIN)] == 3000


def test_gauges_of_the_dead_are_forgotten_and_those_of_the_living_added(tmp_path: Path) -> None:
    script = """
metrics.set_up(directory, "maintenance")
def work(series):
    series.connections.set(5)
    series.sent.inc()
alive = [child(f"sender-{number}", work) for number in (1, 2, 3)]
end(alive.pop())
show()
end(*alive)
"""
    found = run(script, tmp_path)
    assert found[key("gmp_smtp_connections", **MAIN)] == 10
    assert found[key("gmp_sent_total", **MAIN)] == 3
    assert (
        run("metrics.set_up(directory, 'maintenance'); show()", tmp_path)[key("gmp_sent_total", **MAIN)] == 3
    )


def test_a_restarted_process_starts_its_gauges_at_zero(tmp_path: Path) -> None:
    found = run(
        """
metrics.set_up(directory, "maintenance")
end(child("sender-1", lambda series: metrics.account("acme", "other").connections.set(5)))
alive = child("sender-1", lambda series: series.connections.set(2))
show()
end(alive)
""",
        tmp_path,
    )
    assert found[key("gmp_smtp_connections", **MAIN)] == 2
    assert key("gmp_smtp_connections", tenant_id="acme", account_id="other") not in found


def test_histograms_of_several_processes_add_up(tmp_path: Path) -> None:
    found = run(
        """
metrics.set_up(directory, "api")
for _ in range(3):
    end(child("api-worker", lambda series: metrics.http_request("GET", "/status", 200).observe(0.03)))
show()
""",
        tmp_path,
    )
    labels = {"method": "GET", "route": "/status", "status": "200"}
    assert found[key("gmp_http_request_seconds_count", **labels)] == 3
    assert found[key("gmp_http_request_seconds_bucket", le="0.05", **labels)] == 3
    assert found[key("gmp_http_request_seconds_bucket", le="0.025", **labels)] == 0


FROM_THE_DATABASE = """
from mailproxy.model import AccountCondition, FetchMode, Priority
from mailproxy.figures import AccountGauge, Overview, ProcessView, QueueDepth
snapshot = metrics.Snapshot(
    Overview(True, 7, 3.0, 2, 2, 4, 12.5),
    depths=[
        QueueDepth("acme", "main", Priority.HIGH, 3, 10.0),
        QueueDepth("umbrella", "main", Priority.HIGH, 4, 20.0),
    ],
    accounts=[
        AccountGauge("acme", "main", AccountCondition.OK, None),
        AccountGauge("umbrella", "main", AccountCondition.BREAKER_OPEN, 5),
    ],
    processes=[ProcessView(epoch, f"n1-{epoch}", "n1", "sender", 0.0, 0.0) for epoch in (1, 2)],
    mailboxes_failing=2,
)
for tenant in ("acme", "umbrella"):
    metrics.account(tenant, "main").sent.inc()
metrics.queue_wait(Priority.HIGH).observe(1)
metrics.handover("sent").observe(1)
metrics.callback("acknowledged").observe(1)
metrics.http_request("GET", "/health", 200).observe(1)
metrics.attachment_bytes(FetchMode.ENDPOINT, 1000)
metrics.large_files("stored")
metrics.bounces("hard").inc()
metrics.cache(is_hit=True)
metrics.cache(is_hit=False)
sys.stdout.write(metrics.exposition(snapshot).decode())
"""


def test_every_metric_of_the_contract_is_shown_with_its_help(tmp_path: Path) -> None:
    text = output(FROM_THE_DATABASE, tmp_path)
    assert {line.split()[2] for line in text.splitlines() if line.startswith("# HELP")} == {
        "gmp_account_state",
        "gmp_account_troubles_total",
        "gmp_attachment_bytes_total",
        "gmp_bounces_total",
        "gmp_cache_hits_total",
        "gmp_cache_misses_total",
        "gmp_callback_lag_seconds",
        "gmp_callback_seconds",
        "gmp_deferred_total",
        "gmp_errors_total",
        "gmp_handover_seconds",
        "gmp_http_request_seconds",
        "gmp_limit_left",
        "gmp_large_files_total",
        "gmp_mailboxes_failing",
        "gmp_pec_events_total",
        "gmp_pending_messages",
        "gmp_processes",
        "gmp_queue_depth",
        "gmp_queue_oldest_age_seconds",
        "gmp_queue_wait_seconds",
        "gmp_rate_limited_total",
        "gmp_reports_dead",
        "gmp_reports_pending",
        "gmp_sent_total",
        "gmp_smtp_connections",
        "gmp_smtp_reconnects_total",
        "gmp_tenants_switched_off",
        "gmp_unknown_outcomes_total",
    }
    assert not [line for line in text.splitlines() if "_created" in line]
    found = samples(text)
    assert found[key("gmp_pending_messages")] == 7
    assert found[key("gmp_reports_pending")] == 4
    assert found[key("gmp_callback_lag_seconds")] == 12.5
    assert found[key("gmp_mailboxes_failing")] == 2
    assert found[key("gmp_queue_depth", priority="high", **MAIN)] == 3
    assert found[key("gmp_account_state", tenant_id="umbrella", account_id="main")] == 2
    assert found[key("gmp_limit_left", tenant_id="umbrella", account_id="main")] == 5
    assert key("gmp_limit_left", **MAIN) not in found
    assert found[key("gmp_processes", node="n1", role="sender")] == 2
    assert found[key("gmp_errors_total", **MAIN)] == 0
    assert found[key("gmp_attachment_bytes_total", mode="endpoint")] == 1000


def test_without_the_tenant_label_tenants_are_added_up(tmp_path: Path) -> None:
    found = run("metrics.set_up(directory, 'api', tenant_label=False)" + FROM_THE_DATABASE, tmp_path)
    assert found[key("gmp_sent_total", account_id="main")] == 2
    assert found[key("gmp_queue_depth", account_id="main", priority="high")] == 7
    assert found[key("gmp_queue_oldest_age_seconds", account_id="main", priority="high")] == 20
    assert found[key("gmp_account_state", account_id="main")] == 2
    assert not [labels for _, labels in found if "tenant_id" in dict(labels)]


def test_a_name_that_cannot_be_part_of_a_file_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="letters, digits and dashes"):
        set_up(tmp_path, "sender_1")
