"""Senders told to stop again and again while they hand over: nothing is left in doubt (RELIABILITY H15).

MAILPROXY_TEST_STOPS says how many stops are made on each database; the promise speaks of 200.
"""

import os
import signal

import pytest

from tests.process.conftest import add_tenant
from tests.process.peers import Load, SmtpServer, TenantEndpoint, letters
from tests.process.service import Service, lives, until
from tests.process.test_kills import check_that_nothing_is_lost_or_doubled

STOPS = int(os.environ.get("MAILPROXY_TEST_STOPS", "10"))
BETWEEN, BATCH = 15, 3


@pytest.mark.timeout(120 + 3 * STOPS)
def test_senders_that_are_told_to_stop_leave_no_doubt(
    service: Service, smtp: SmtpServer, endpoint: TenantEndpoint
) -> None:
    tenant = add_tenant(service, smtp, endpoint)
    count = 2 * BETWEEN * STOPS
    batches = [
        letters(tenant, "main", range(n, n + BATCH), to="slow50@example.com") for n in range(0, count, BATCH)
    ]
    stopped: set[int] = set()
    with Load(service, batches, pause=0.0) as load:
        while len(stopped) < STOPS:
            arrived = BETWEEN * (len(stopped) + 1)
            until(lambda n=arrived: len(smtp.times(tenant)) >= n, 30.0, so=service.last_words)
            until(lambda: set(service.pids("sender")) - stopped, so=service.last_words)
            (pid,) = service.pids("sender")[-1:]
            os.kill(pid, signal.SIGTERM)
            stopped.add(pid)
            until(lambda pid=pid: not lives(pid), 30.0, so=service.last_words)
        assert len(smtp.times(tenant)) < count, "everything had been delivered before the last stop"
        load.finish(30.0 + STOPS)
    check_that_nothing_is_lost_or_doubled(service, tenant, load.accepted, smtp, endpoint, in_doubt=0)
    ended = {event["pid"]: event["code"] for event in service.events("ended")}
    assert {ended[pid] for pid in stopped} == {0}
    print(f"{len(stopped)} stops under load, {count} messages, 0 in doubt")
