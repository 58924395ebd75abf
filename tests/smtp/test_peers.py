"""The same session against a server that is not ours, and on the event loop of production."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvloop
from aiosmtpd.smtp import SMTP, AuthResult, Envelope

from mailproxy.outcome import AccountTrouble, Refused, Sent, Trouble
from tests.smtp.conftest import MESSAGE, offer, opened, try_open
from tests.support.smtp import Sink, sink_process
from tests.support.tls import Authority
from workers.sender.session import Offered


class Mailbox:
    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_RCPT(self, server, session, envelope, address, options) -> str:
        if address.startswith("no"):
            return "550 5.1.1 unknown"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope) -> str:
        self.envelopes.append(envelope)
        return "250 accepted"


@asynccontextmanager
async def aiosmtpd_server(mailbox: Mailbox, **options) -> AsyncIterator[SimpleNamespace]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, loop=loop, **options), "127.0.0.1", 0)
    try:
        yield SimpleNamespace(port=server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await server.wait_closed()


async def test_aiosmtpd_receives_what_was_sent() -> None:
    mailbox = Mailbox()
    async with aiosmtpd_server(mailbox, enable_SMTPUTF8=True) as server:
        session = await opened(server)
        offered = await offer(session, "b@example.org", "no@example.org", "\u00fc@example.org", smtputf8=True)
        assert isinstance(offered, Offered)
        assert offered.accepted == (0, 2)
        assert isinstance(await session.dot(), Sent)
        assert isinstance(await offer(session, "no@example.org"), Refused)
        assert isinstance(await offer(session), Offered)
        assert isinstance(await session.dot(), Sent)
        await session.quit()
    assert [envelope.content for envelope in mailbox.envelopes] == [MESSAGE, MESSAGE]
    assert mailbox.envelopes[0].rcpt_tos == ["b@example.org", "\u00fc@example.org"]


@pytest.mark.parametrize("password", ["right", "wrong"])
async def test_aiosmtpd_lets_in_over_starttls(server_tls, authority: Authority, password: str) -> None:
    def authenticator(server, session, envelope, mechanism, data) -> AuthResult:
        return AuthResult(success=data.password == b"right", handled=False)

    options = {"tls_context": server_tls(), "authenticator": authenticator, "require_starttls": True}
    async with aiosmtpd_server(Mailbox(), **options) as server:
        account = {"user": "u", "password": password, "use_tls": True, "tls_ca": authority.pem}
        if password == "right":
            session = await opened(server, **account)
            assert isinstance(await offer(session), Offered)
            assert isinstance(await session.dot(), Sent)
            await session.quit()
        else:
            trouble = await try_open(server, **account)
            assert isinstance(trouble, AccountTrouble)
            assert (trouble.trouble, trouble.definite) == (Trouble.AUTH, True)


@pytest.mark.parametrize("encrypted", [False, True])
def test_the_same_on_uvloop(log: Path, server_tls, authority: Authority, encrypted: bool) -> None:
    tls: ssl.SSLContext | None = server_tls() if encrypted else None

    async def conversation() -> None:
        async with Sink(log, tls=tls, user="u", password="p") as sink:
            session = await opened(sink, user="u", password="p", tls_ca=authority.pem)
            assert (session.tls is not None) is encrypted
            for size in (10, 3_000_000):
                assert isinstance(await offer(session, data=b"x" * 70 + b"\r\n" * size), Offered)
                assert isinstance(await session.dot(), Sent)
            assert isinstance(await offer(session, "cutdot@x.org"), Offered)
            assert not isinstance(await session.dot(), Sent)
            trouble = await try_open(sink, user="u", password="x", tls_ca=authority.pem)
            assert isinstance(trouble, AccountTrouble)
            assert len(sink.messages()) == 2

    uvloop.run(conversation())


async def test_a_sink_in_another_process_takes_mail_and_ends_with_us(log: Path) -> None:
    async with sink_process(log, size="100000") as port:
        session = await opened(SimpleNamespace(port=port))
        assert isinstance(await offer(session), Offered)
        assert isinstance(await session.dot(), Sent)
        await session.quit()
    trouble = await try_open(SimpleNamespace(port=port))
    assert isinstance(trouble, AccountTrouble)
