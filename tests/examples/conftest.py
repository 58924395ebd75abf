"""A real server with a tenant, and an SMTP server that takes its mail."""

from collections.abc import Iterator

import pytest

from mailproxy.client import MailProxyClient
from tests.conftest import KEY
from tests.process.peers import SmtpServer, smtp_server
from tests.process.service import ADMIN, running


@pytest.fixture(scope="session")
def smtp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpServer]:
    folder = tmp_path_factory.mktemp("smtp")
    with smtp_server(folder / "log", keep=folder) as server:
        yield server


@pytest.fixture(scope="session")
def admin(tmp_path_factory: pytest.TempPathFactory, smtp: SmtpServer) -> Iterator[MailProxyClient]:
    folder = tmp_path_factory.mktemp("service")
    environ = {"GMP_DB_PATH": str(folder / "mail.db"), "MAIL_PROXY_ENCRYPTION_KEY": KEY}
    with running(folder, environ) as service:
        url = f"http://127.0.0.1:{service.port}"
        with MailProxyClient(url, ADMIN, tenant_id="acme") as client:
            client.tenants.add("acme")
            client.accounts.add("main", "127.0.0.1", smtp.port, use_tls=False)
            yield client


@pytest.fixture
def key(admin: MailProxyClient) -> str:
    """A key of the tenant, which ends all others."""
    return admin.tenants.new_key("acme")
