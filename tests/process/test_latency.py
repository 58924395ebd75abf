"""How long a message waits where messages are polled for; that none waits elsewhere is held by test_dispatch.py."""

import time
from pathlib import Path

from tests.conftest import KEY
from tests.process.conftest import add_tenant
from tests.process.peers import SmtpServer, TenantEndpoint, letters
from tests.process.service import Service, running, until

POLL = 3.0


def test_without_dispatch_on_arrival_a_message_waits_until_somebody_looks(
    smtp: SmtpServer, endpoint: TenantEndpoint, tmp_path: Path
) -> None:
    """Posted when the last one has just been found, it has nearly a whole interval before it."""
    environ = {"GMP_DB_PATH": str(tmp_path / "mail.db"), "MAIL_PROXY_ENCRYPTION_KEY": KEY}
    polling = {"GMP_DISPATCH_ON_ARRIVAL": "false", "GMP_SEND_LOOP_INTERVAL": f"{POLL:g}"}
    with running(tmp_path / "node", environ, **polling) as service:
        _, waited = (seconds_to_data(service, add_tenant(service, smtp, endpoint), smtp, 0) for _ in range(2))
        assert POLL / 2 < waited < 2 * POLL


def seconds_to_data(service: Service, tenant: str, smtp: SmtpServer, number: int) -> float:
    """From the call to the server's note that the message is there."""
    before = len(smtp.times(tenant))
    posted = time.time()
    service.post(letters(tenant, "main", range(number, number + 1)))
    until(lambda: len(smtp.times(tenant)) > before, so=service.last_words)
    return smtp.deliveries(tenant)[-1].t - posted
