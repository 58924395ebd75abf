"""A real server with a tenant, and an SMTP server that takes its mail."""

from collections.abc import Iterator

import pytest

from mailproxy.client import MailProxyClient
from tests.conftest import KEY
from tests.process.peers import smtp_server
from tests.process.service import ADMIN, running


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailProxyClient]:
    folder = tmp_path_factory.mktemp("service")
    environ = {"GMP_DB_PATH": str(folder / "mail.db"), "MAIL_PROXY_ENCRYPTION_KEY": KEY}
    with smtp_server(folder / "smtp.log") as smtp, running(folder, environ) as service:
        url = f"http://127.0.0.1:{service.port}"
        with MailProxyClient(url, ADMIN, tenant_id="acme") as client:
            client.tenants.add("acme")
            client.accounts.add("main", "127.0.0.1", smtp.port, use_tls=False)
            yield client


@pytest.fixture
def key(admin: MailProxyClient) -> str:
    """A key of the tenant, which ends all others."""
    return admin.tenants.new_key("acme")
