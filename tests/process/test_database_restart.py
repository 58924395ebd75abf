"""PostgreSQL stopped without warning while messages are accepted, sent and reported (RELIABILITY F10, A1)."""

import time
from pathlib import Path

from tests.conftest import KEY
from tests.process.conftest import LEASE, add_tenant
from tests.process.peers import Load, SmtpServer, TenantEndpoint, letters
from tests.process.service import running, until
from tests.process.test_kills import SESSIONS, check_that_nothing_is_lost_or_doubled
from tests.support import memory
from tests.support.postgres_server import PostgresServer, own_server

RECOVERY = 10.0
BATCH, MESSAGES = 2, 300


def test_nothing_accepted_is_lost_or_doubled_when_the_database_stops_at_once(
    smtp: SmtpServer, endpoint: TenantEndpoint, tmp_path: Path
) -> None:
    with own_server(memory.folder()) as database:
        environ = {"GMP_DATABASE_URL": database.url, "MAIL_PROXY_ENCRYPTION_KEY": KEY}
        settings = {"GMP_LEASE_SECONDS": f"{LEASE:g}", "GMP_API_WORKERS": "2"}
        with running(tmp_path / "node", environ, **settings) as service:
            tenant = add_tenant(service, smtp, endpoint)
            batches = [
                letters(tenant, "main", range(n, n + BATCH), to="slow50@example.com")
                for n in range(0, MESSAGES, BATCH)
            ]
            with Load(service, batches, pause=0.02) as load:
                for refusals in (0, 1):
                    arrived = 40 + len(smtp.times(tenant))
                    until(lambda n=arrived: len(smtp.times(tenant)) >= n, so=service.last_words)
                    stop_and_start(database, load, refusals)
                    back_at = time.time()
                    until(
                        lambda t=back_at: smtp.deliveries(tenant)[-1].t > t, RECOVERY, so=service.last_words
                    )
                load.finish()
            in_doubt = 2 * SESSIONS
            check_that_nothing_is_lost_or_doubled(service, tenant, load.accepted, smtp, endpoint, in_doubt)
            assert service.stop() == 0


def stop_and_start(database: PostgresServer, load: Load, refusals: int) -> None:
    """The server is away at least until so many calls were refused for it."""
    database.stop_at_once()
    assert load.goes_on, "everything had been accepted before the stop"
    seen = len(load.refusals)
    until(lambda: len(load.refusals) >= seen + refusals)
    assert all("503" in refusal for refusal in load.refusals), load.refusals
    database.start()
