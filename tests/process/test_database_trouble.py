"""A running service whose database freezes, is away, or may only be read: no dot, no busy loop, and on it goes after.

MAILPROXY_TEST_LOCK says for how many seconds SQLite's lock is held by somebody else; above 10 s calls are refused.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.process.conftest import LEASE, add_tenant, database
from tests.process.peers import Load, SmtpServer, TenantEndpoint, letters
from tests.process.service import Service, lives, running, until
from tests.process.test_kills import SESSIONS, check_that_nothing_is_lost_or_doubled
from tests.sql.stores import locked_by_another, proxy_to
from tests.support.faultproxy import FaultProxy, beside

BACK = 60.0
LOCK = float(os.environ.get("MAILPROXY_TEST_LOCK", "2"))
SHORTEST = 1.0
# Below a connection or a statement every 50 ms of each process, what is tried again is tried with patience.
PER_SECOND = 100.0


class Database:
    """The one behind the proxy, and what can happen to it; `tried` counts what reaches it of connections."""

    def __init__(self, proxy: FaultProxy, have: Callable[[Callable[[], None]], None], url: str) -> None:
        self._proxy, self._have, self._url = proxy, have, url

    @property
    def tried(self) -> int:
        return self._proxy.connections + self._proxy.refused

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self._have(self._proxy.freeze)
        yield
        self._have(self._proxy.come_back)

    @contextmanager
    def down(self) -> Iterator[None]:
        self._have(self._proxy.go_down)
        yield
        self._have(self._proxy.come_back)

    @contextmanager
    def read_only(self) -> Iterator[None]:
        self._alter("SET default_transaction_read_only = on")
        yield
        self._alter("RESET default_transaction_read_only")

    def most_attempts(self) -> int:
        with psycopg.connect(self._url) as connection:
            found = connection.execute("SELECT max(attempts) FROM message").fetchone()
            assert found is not None
            return int(found[0])

    def _alter(self, what: str) -> None:
        """What the database's default is, also for the sessions that have it open."""
        may_write = "-c default_transaction_read_only=off"
        with psycopg.connect(self._url, autocommit=True, options=may_write) as connection:
            connection.execute(f'ALTER DATABASE "{connection.info.dbname}" {what}'.encode())
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


@contextmanager
def reached_through_a_proxy(url: str) -> Iterator[tuple[Database, str]]:
    """The database, and the URL by which a service reaches it."""
    info = psycopg.conninfo.conninfo_to_dict(url)
    with beside(proxy := proxy_to(url)) as have:
        user = f"{info.get('user', 'postgres')}:{info.get('password', '')}"
        yield Database(proxy, have, url), f"postgresql://{user}@{proxy.host}:{proxy.port}/{info['dbname']}"


def refusal(service: Service, tenant: str) -> float:
    """The seconds after which a client that is refused shall come back."""
    with service.new_client() as client:
        batch = letters(tenant, "main", range(1), id=f"{tenant}-refused")
        answer = client.post("/commands/add-messages", json={"messages": batch})
    assert answer.status_code == 503, answer.text
    return float(answer.headers["retry-after"])


def cpu_seconds(service: Service) -> float:
    found = 0.0
    for pid in service.members():
        if lives(pid):
            times = psutil.Process(pid).cpu_times()
            found += times.user + times.system
    return found


def check_that_it_waits(service: Service, tenant: str, smtp: SmtpServer, tried: Callable[[], int]) -> None:
    """Nothing is handed over but what was allowed before, and nothing is tried again without end."""
    begun, before, arrived, cpu = (
        time.monotonic(),
        tried(),
        len(smtp.deliveries(tenant)),
        cpu_seconds(service),
    )
    while True:
        assert refusal(service, tenant) >= 1
        if (seconds := time.monotonic() - begun) > SHORTEST:
            break
        time.sleep(0.1)
    assert len(smtp.deliveries(tenant)) <= arrived + SESSIONS, "a dot without an intent that is committed"
    assert tried() - before <= PER_SECOND * seconds
    assert cpu_seconds(service) - cpu <= seconds / 2 + 0.5


@pytest.mark.timeout(240)
def test_nothing_is_handed_over_while_the_database_is_in_trouble_and_all_is_after(
    smtp: SmtpServer, endpoint: TenantEndpoint, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with (
        database("postgres", tmp_path, request) as environ,
        reached_through_a_proxy(environ["GMP_DATABASE_URL"]) as (trouble, url),
        running(
            tmp_path / "node", environ | {"GMP_DATABASE_URL": url}, GMP_LEASE_SECONDS=f"{LEASE:g}"
        ) as service,
    ):
        tenant = add_tenant(service, smtp, endpoint)
        batches = slow_letters(tenant, 300)
        with Load(service, batches, pause=0.02) as load:
            for happening in (trouble.frozen, trouble.down, trouble.read_only):
                until_some_more_arrived(service, smtp, tenant)
                with happening():
                    check_that_it_waits(service, tenant, smtp, lambda: trouble.tried)
            until_some_more_arrived(service, smtp, tenant)
            load.finish(BACK)
        check_all(service, tenant, load, smtp, endpoint, in_doubt=2 * SESSIONS)
        assert trouble.most_attempts() == 1
        assert service.stop() == 0


@pytest.mark.timeout(120 + 2 * LOCK)
def test_a_lock_of_sqlite_that_somebody_else_holds_is_waited_for_or_refused(
    smtp: SmtpServer, endpoint: TenantEndpoint, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with database("sqlite", tmp_path, request) as environ, running(tmp_path / "node", environ) as service:
        tenant = add_tenant(service, smtp, endpoint)
        with Load(service, slow_letters(tenant, 100), pause=0.02) as load:
            until_some_more_arrived(service, smtp, tenant)
            with locked_by_another(Path(environ["GMP_DB_PATH"]), LOCK) as holds:
                arrived = len(smtp.deliveries(tenant))
                while holds():
                    assert service.client.get("/status").status_code == 200
                    now = len(smtp.deliveries(tenant))
                    assert now <= arrived + SESSIONS or not holds(), "a dot without an intent"
                    time.sleep(0.05)
            load.finish(BACK + LOCK)
        assert all("503" in refusal for refusal in load.refusals), load.refusals
        assert LOCK > 8 or not load.refusals, "it was not waited for"
        assert LOCK < 12 or load.refusals, "somebody waited longer than it takes"
        check_all(service, tenant, load, smtp, endpoint, in_doubt=0)
        assert service.stop() == 0


def slow_letters(tenant: str, count: int) -> list[list[dict[str, object]]]:
    return [letters(tenant, "main", range(n, n + 2), to="slow50@example.com") for n in range(0, count, 2)]


def until_some_more_arrived(service: Service, smtp: SmtpServer, tenant: str) -> None:
    arrived = len(smtp.deliveries(tenant)) + 30
    until(lambda: len(smtp.deliveries(tenant)) >= arrived, BACK, so=service.last_words)


def check_all(
    service: Service, tenant: str, load: Load, smtp: SmtpServer, endpoint: TenantEndpoint, in_doubt: int
) -> None:
    """What was refused may all the same have been committed: its client would have asked again."""
    accepted = load.accepted | ({f"{tenant}-refused"} & set(service.messages(tenant)))
    check_that_nothing_is_lost_or_doubled(service, tenant, accepted, smtp, endpoint, in_doubt)
