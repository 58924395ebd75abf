"""Databases, far ends and services that the tests of a module share; each test has a tenant of its own."""

import contextlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.conftest import DIALECTS, KEY
from tests.process.peers import SmtpServer, TenantEndpoint, smtp_server, tenant_endpoint
from tests.process.service import Service, running
from tests.support import postgres

LEASE = 3.0
NUMBERS = count(1)


@contextlib.contextmanager
def database(dialect: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """A new database as the environment names it."""
    if dialect == "sqlite":
        yield {"GMP_DB_PATH": str(folder / "mail.db"), "MAIL_PROXY_ENCRYPTION_KEY": KEY}
        return
    with postgres.database(request.getfixturevalue("postgres_server")) as url:
        yield {"GMP_DATABASE_URL": url, "MAIL_PROXY_ENCRYPTION_KEY": KEY}


@pytest.fixture(scope="session")
def smtp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpServer]:
    with smtp_server(tmp_path_factory.mktemp("smtp") / "log") as server:
        yield server


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TenantEndpoint]:
    with tenant_endpoint(tmp_path_factory.mktemp("endpoint") / "log") as server:
        yield server


@pytest.fixture(scope="module", params=DIALECTS)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running node with a short lease and, where more than one may write, two API workers."""
    dialect = str(request.param)
    folder = tmp_path_factory.mktemp(dialect)
    settings = {"GMP_LEASE_SECONDS": f"{LEASE:g}", "GMP_DRAIN_SECONDS": "10", "GMP_API_WORKERS": "2"}
    with database(dialect, folder, request) as environ, running(folder, environ, **settings) as node:
        yield node


@pytest.fixture
def tenant(service: Service, smtp: SmtpServer, endpoint: TenantEndpoint) -> str:
    """A tenant with an account `main` at the server that takes everything."""
    return add_tenant(service, smtp, endpoint)


def add_tenant(service: Service, smtp: SmtpServer, endpoint: TenantEndpoint, **account: object) -> str:
    tenant = f"t{next(NUMBERS)}"
    service.add_tenant(tenant, endpoint.url)
    service.add_account(tenant, "main", smtp.port, **account)
    return tenant
