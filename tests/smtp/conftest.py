"""Accounts and sessions on loopback servers."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailproxy.model import Account, AccountPk, TenantPk, TlsMode
from mailproxy.outcome import AccountTrouble
from mailproxy.reach import Reach
from tests.support.tls import Authority
from workers.sender.session import Session, Timeouts, open_session

SHORT = Timeouts(connect=0.3, greeting=0.3, command=0.3, data=0.3, body_progress=0.3, dot=0.3)

MESSAGE = (
    b"X-Genro-Mail-ID: m1\r\nMessage-ID: <m1@example.com>\r\nSubject: Hello\r\n\r\nHello\r\n.\r\n..two\r\n"
)


class ImplicitTlsAccount(Account):
    """As on port 465, which a test may not be able to bind."""

    __slots__ = ()

    @property
    def tls_mode(self) -> TlsMode:
        return TlsMode.IMPLICIT


def account(port: int, *, kind: type[Account] = Account, **changes: Any) -> Account:
    settings: dict[str, Any] = {
        "pk": AccountPk(1),
        "tenant_pk": TenantPk(1),
        "tenant_id": "acme",
        "id": "main",
        "version": 1,
        "host": "127.0.0.1",
        "port": port,
        "user": None,
        "password": None,
    }
    return kind(**settings | changes)


async def try_open(
    server: Any,
    *,
    timeouts: Timeouts | None = None,
    pipelining: bool = True,
    require_tls: bool = False,
    local_hostname: str | None = "client.example.com",
    reach: Reach | None = None,
    **changes: Any,
) -> Session | AccountTrouble:
    """`server` is anything with a port; `changes` are the account's."""
    return await open_session(
        account(server.port, **changes),
        timeouts=timeouts or Timeouts(),
        local_hostname=local_hostname,
        reach=reach or Reach(),
        pipelining=pipelining,
        require_tls=require_tls,
    )


async def opened(server: Any, **options: Any) -> Session:
    session = await try_open(server, **options)
    assert isinstance(session, Session), session
    return session


async def offer(
    session: Session,
    *recipients: str,
    data: bytes = MESSAGE,
    sender: str = "a@example.com",
    smtputf8: bool = False,
) -> Any:
    numbered = list(enumerate(recipients or ("b@example.org",)))
    return await session.offer(sender, numbered, data, smtputf8=smtputf8)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "sink.log"


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def server_tls(authority: Authority, tmp_path: Path) -> Callable[..., ssl.SSLContext]:
    return lambda **options: authority.server_context(tmp_path, **options)
