"""Two nodes on one PostgreSQL: each message once, and limits that hold for all their processes together."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from tests.process.conftest import database
from tests.process.peers import SmtpServer, TenantEndpoint, letters
from tests.process.service import Service, running, until

ACCOUNTS, LETTERS = 4, 500
LIMIT, WINDOW = 20, 1.0
REAL_MINUTE = "MAILPROXY_TEST_MINUTE"


class Nodes:
    """Two nodes; the first has two slots an account, the second two more: four senders for a busy account."""

    def __init__(self, first: Service, second: Service, url: str) -> None:
        self.first = first
        self.second = second
        self._url = url

    def narrow(self, window: float) -> None:
        """Give the windows of a minute another width; the number of their slots is part of it."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            changed = connection.execute("UPDATE rate_limit SET slot_s = %s, slots = 4", [window / 4])
            assert changed.rowcount == 1

    def senders(self, tenant: str) -> list[int]:
        """How many processes of each node serve the tenant's account."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            rows = connection.execute(
                "SELECT count(DISTINCT l.epoch) FROM account_lease l JOIN process p USING (epoch)"
                " JOIN account a ON a.pk = l.account_pk JOIN tenant t ON t.pk = a.tenant_pk"
                " WHERE t.id = %s GROUP BY p.node",
                [tenant],
            )
            return [count for (count,) in rows]


@pytest.fixture(scope="module")
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("nodes")
    with ExitStack() as stack:
        environ = stack.enter_context(database("postgres", folder, request))
        first, second = (
            stack.enter_context(running(folder / name, environ, GMP_NODE_ID=name, GMP_ACCOUNT_SLOTS=slots))
            for name, slots in (("first", "2"), ("second", "4"))
        )
        yield Nodes(first, second, environ["GMP_DATABASE_URL"])


def test_each_of_2000_messages_arrives_once_and_is_reported(
    nodes: Nodes, smtp: SmtpServer, endpoint: TenantEndpoint
) -> None:
    tenant = "twice"
    nodes.first.add_tenant(tenant, endpoint.url)
    for account in range(ACCOUNTS):
        nodes.first.add_account(tenant, f"a{account}", smtp.port)
    accepted: set[str] = set()
    for account in range(ACCOUNTS):
        for node, start in ((nodes.first, 0), (nodes.second, LETTERS // 2)):
            accepted |= node.post(letters(tenant, f"a{account}", range(start, start + LETTERS // 2)))
    assert len(accepted) == ACCOUNTS * LETTERS
    assert {record["status"] for record in nodes.second.until_final(tenant).values()} == {"sent"}
    assert smtp.times(tenant) == dict.fromkeys(accepted, 1)
    until(lambda: endpoint.ids(tenant, "sent") == accepted, so=nodes.first.last_words)
    assert len({told.event_id for told in endpoint.told(tenant)}) == len(accepted)
    assert all(node.pids("sender") for node in (nodes.first, nodes.second)), "a node had nothing to do"


def test_four_processes_together_never_exceed_a_limit_in_any_window(
    nodes: Nodes, smtp: SmtpServer, endpoint: TenantEndpoint
) -> None:
    tenant = "limited"
    add_limited(nodes, tenant, smtp, endpoint, LIMIT)
    nodes.narrow(WINDOW)
    times = send_from_four_processes(nodes, tenant, smtp, 10 * LIMIT, 60.0)
    check_windows(times, LIMIT, WINDOW)
    assert times[-1] - times[0] > 4 * WINDOW


@pytest.mark.timeout(300)
def test_four_processes_together_never_exceed_60_in_any_minute(
    nodes: Nodes, smtp: SmtpServer, endpoint: TenantEndpoint
) -> None:
    if REAL_MINUTE not in os.environ:
        pytest.skip(f"takes three minutes: {REAL_MINUTE}=1 make test ARGS='-k any_minute'")
    add_limited(nodes, "minute", smtp, endpoint, 60)
    times = send_from_four_processes(nodes, "minute", smtp, 180, 280.0)
    check_windows(times, 60, 60.0)
    assert times[-1] - times[0] > 2 * 60


def add_limited(nodes: Nodes, tenant: str, smtp: SmtpServer, endpoint: TenantEndpoint, limit: int) -> None:
    nodes.first.add_tenant(tenant, endpoint.url)
    nodes.first.add_account(tenant, "main", smtp.port, limit_per_minute=limit)


def send_from_four_processes(
    nodes: Nodes, tenant: str, smtp: SmtpServer, count: int, seconds: float
) -> list[float]:
    """When each message arrived, two senders of each node working at them all."""
    (scout,) = nodes.second.pids("scout")
    os.kill(scout, signal.SIGSTOP)  # or the second node might take all slots
    nodes.first.post(letters(tenant, "main", range(count)))
    until(lambda: nodes.senders(tenant) == [2])
    os.kill(scout, signal.SIGCONT)
    until(lambda: nodes.senders(tenant) == [2, 2])
    assert len(smtp.times(tenant)) < count / 2, "most was sent before all four were there"
    until(lambda: len(smtp.times(tenant)) == count, seconds, so=nodes.first.last_words)
    assert nodes.senders(tenant) == [2, 2]
    times = sorted(one.t for one in smtp.deliveries(tenant))
    assert len(times) == count, "delivered twice"
    return times


def check_windows(times: list[float], limit: int, window: float) -> None:
    """Between a delivery and the `limit`th after it there is always a whole window."""
    spans = [later - earlier for earlier, later in zip(times, times[limit:], strict=False)]
    assert min(spans) >= window, f"{limit + 1} within {min(spans):.3f} s"
