"""Opening a connection: names, TLS by mode, credentials, and every trouble told apart."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from mailproxy import egress
from mailproxy.model import Account
from mailproxy.outcome import AccountTrouble, Sent, Trouble
from mailproxy.reach import Reach
from tests.smtp.conftest import SHORT, ImplicitTlsAccount, offer, opened, try_open
from tests.support.resolving import Rebinding
from tests.support.smtp import ScriptedServer, Sink
from tests.support.tls import Authority
from workers.sender.session import Offered, Session

ServerTls = Callable[..., ssl.SSLContext]


async def test_a_closed_port_is_a_refused_connection(log: Path) -> None:
    async with Sink(log) as sink:
        pass
    trouble = await try_open(sink)
    assert isinstance(trouble, AccountTrouble)
    assert (trouble.trouble, trouble.definite) == (Trouble.REFUSED, False)


async def test_a_name_nobody_knows_is_a_dns_trouble(log: Path) -> None:
    async with Sink(log) as sink:
        for host in ("no-such-host.invalid", "a" * 70 + ".invalid", "a..b"):
            trouble = await try_open(sink, host=host)
            assert isinstance(trouble, AccountTrouble)
            assert trouble.trouble is Trouble.DNS


async def test_a_host_a_tenant_set_is_resolved_once_and_reached_where_it_was_judged(log: Path) -> None:
    resolver = Rebinding(["127.0.0.2"], ["127.0.0.1"])
    reach = Reach(egress.allowed(["127.0.0.2"]), resolver)
    async with Sink(log, host="127.0.0.2") as sink:
        session = await opened(sink, host="relay.example.com", host_set_by_tenant=True, reach=reach)
        await session.quit()
    assert resolver.asked == [("relay.example.com", sink.port)]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "::1"])
async def test_a_host_a_tenant_set_is_not_reached_inside(log: Path, host: str) -> None:
    async with Sink(log) as sink:
        trouble = await try_open(sink, host=host, host_set_by_tenant=True)
        assert isinstance(trouble, AccountTrouble)
        assert (trouble.trouble, trouble.definite) == (Trouble.FORBIDDEN, False)
        assert "GMP_EGRESS_ALLOW" in trouble.cause
        assert sink.opened == 0


async def test_one_bad_address_among_good_ones_is_enough(log: Path) -> None:
    reach = Reach(egress.allowed(["127.0.0.1"]), Rebinding(["127.0.0.1", "169.254.169.254"]))
    async with Sink(log) as sink:
        trouble = await try_open(sink, host="relay.example.com", host_set_by_tenant=True, reach=reach)
        assert isinstance(trouble, AccountTrouble)
        assert "169" not in trouble.cause
        assert sink.opened == 0


async def test_a_host_the_operator_set_may_be_anywhere(log: Path) -> None:
    async with Sink(log) as sink:
        await (await opened(sink, host="localhost", use_tls=False)).quit()


@pytest.mark.parametrize("greeting", ["421 4.3.2 not now", "554 no service", "450 later"])
async def test_a_refusing_greeting_is_the_accounts_trouble(log: Path, greeting: str) -> None:
    async with Sink(log, greeting=greeting) as sink:
        trouble = await try_open(sink)
        assert isinstance(trouble, AccountTrouble)
        assert trouble.trouble is Trouble.UNAVAILABLE
        assert trouble.reply is not None
        assert trouble.reply.code == int(greeting[:3])


async def test_a_greeting_of_many_lines_is_fine() -> None:
    async with ScriptedServer(b"220-welcome\r\n220-to\r\n220 us\r\n", b"250 x\r\n") as server:
        (await opened(server)).abandon()


@pytest.mark.parametrize("mode", ["starttls", "opportunistic", "implicit"])
async def test_a_message_goes_through_an_encrypted_connection(
    log: Path, mode: str, server_tls: ServerTls, authority: Authority
) -> None:
    login = {"user": "u", "password": "p\u00e4ss"}
    async with Sink(log, tls=server_tls(), implicit_tls=mode == "implicit", **login) as sink:
        use_tls = None if mode == "opportunistic" else True
        kind = ImplicitTlsAccount if mode == "implicit" else Account
        session = await opened(sink, kind=kind, use_tls=use_tls, tls_ca=authority.pem, **login)
        assert session.tls in ("TLSv1.2", "TLSv1.3")
        body = b"Subject: x\r\n\r\n" + b"text\r\n" * 500_000
        assert isinstance(await offer(session, data=body), Offered)
        assert isinstance(await session.dot(), Sent)
        await session.quit()
    assert sink.messages()[0].size == len(body)


async def test_nothing_is_sent_in_clear_where_starttls_is_required(log: Path) -> None:
    async with Sink(log, user="u", password="p") as sink:
        for options in ({"use_tls": True}, {"require_tls": True}):
            trouble = await try_open(sink, user="u", password="p", **options)
            assert isinstance(trouble, AccountTrouble)
            assert trouble.trouble is Trouble.TLS
        assert not any(command.startswith("AUTH") for command in sink.commands)


@pytest.mark.parametrize("half", [{"user": "u"}, {"user": "u", "password": ""}, {"password": "p"}], ids=str)
async def test_half_a_login_is_none(log: Path, half: dict[str, str]) -> None:
    async with Sink(log) as sink:
        session = await opened(sink, **half)
        await session.quit()
        assert not any(command.startswith("AUTH") for command in sink.commands)


async def test_without_tls_the_account_may_say_so(log: Path, server_tls: ServerTls) -> None:
    async with Sink(log, tls=server_tls()) as sink:
        session = await opened(sink, use_tls=False)
        assert session.tls is None
        await session.quit()


@pytest.mark.parametrize("fault", ["unknown_ca", "expired", "wrong_name"])
@pytest.mark.parametrize("use_tls", [True, None])
async def test_a_bad_certificate_counts_where_it_is_verified(
    log: Path, fault: str, use_tls: bool | None, server_tls: ServerTls, authority: Authority
) -> None:
    options = {"expired": {"days": -1}, "wrong_name": {"host": "other.example.com"}}.get(fault, {})
    trusted = Authority() if fault == "unknown_ca" else authority
    async with Sink(log, tls=server_tls(**options)) as sink:
        trouble = await try_open(sink, use_tls=use_tls, tls_ca=trusted.pem)
        assert isinstance(trouble, AccountTrouble)
        assert (trouble.trouble, trouble.definite) == (Trouble.TLS, False)
        session = await opened(sink, use_tls=use_tls, tls_ca=trusted.pem, tls_verify=False)
        assert session.tls is not None
        await session.quit()


async def test_opportunistic_encryption_takes_any_certificate(log: Path, server_tls: ServerTls) -> None:
    async with Sink(log, tls=server_tls()) as sink:
        session = await opened(sink)
        assert session.tls is not None
        await session.quit()


async def test_an_old_protocol_is_refused(log: Path, server_tls: ServerTls) -> None:
    context = server_tls()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with Sink(log, tls=context) as sink:
        trouble = await try_open(sink)
        assert isinstance(trouble, AccountTrouble)
        assert trouble.trouble in (Trouble.TLS, Trouble.NETWORK)


async def test_an_unusable_ca_is_the_accounts_trouble(log: Path) -> None:
    async with Sink(log) as sink:
        trouble = await try_open(sink, use_tls=True, tls_ca="not PEM")
        assert isinstance(trouble, AccountTrouble)
        assert trouble.trouble is Trouble.TLS


@pytest.mark.parametrize("reply", [b"454 4.7.0 not now\r\n", b"501 no\r\n", b"250 what\r\n"])
async def test_a_refused_starttls_is_never_followed_by_clear_text(reply: bytes) -> None:
    async with ScriptedServer(b"220 x\r\n", b"250-x\r\n250 STARTTLS\r\n", reply) as server:
        trouble = await try_open(server)
        assert isinstance(trouble, AccountTrouble)
    assert [line.split()[0] for line in server.received] == [b"EHLO", b"STARTTLS"]


async def test_bytes_injected_after_the_answer_to_starttls_are_never_read(
    server_tls: ServerTls, authority: Authority
) -> None:
    async def inject(reader, writer) -> None:
        writer.write(b"220 go\r\n250-injected\r\n250 SIZE 1\r\n")
        await writer.start_tls(server_tls())
        await reader.readuntil(b"\r\n")
        writer.write(b"250 x\r\n")

    async with ScriptedServer(b"220 x\r\n", b"250-x\r\n250 STARTTLS\r\n", inject) as server:
        outcome = await try_open(server, use_tls=True, tls_ca=authority.pem, timeouts=SHORT)
        if isinstance(outcome, Session):
            assert outcome.capabilities.size is None
            outcome.abandon()
        else:
            assert outcome.trouble in (Trouble.TLS, Trouble.NETWORK, Trouble.PROTOCOL)


@pytest.mark.parametrize("mechanisms", [("PLAIN",), ("LOGIN",), ("LOGIN", "PLAIN"), ("XOAUTH2", "PLAIN")])
async def test_the_account_logs_in(log: Path, mechanisms: tuple[str, ...]) -> None:
    async with Sink(log, user="u", password="p", mechanisms=mechanisms) as sink:
        session = await opened(sink, user="u", password="p")
        assert isinstance(await offer(session), Offered)
        session.abandon()


async def test_a_wrong_password_is_tried_once_and_is_definite(log: Path) -> None:
    async with Sink(log, user="u", password="p") as sink:
        trouble = await try_open(sink, user="u", password="secret-wrong")
        assert isinstance(trouble, AccountTrouble)
        assert (trouble.trouble, trouble.definite) == (Trouble.AUTH, True)
        assert "secret" not in repr(trouble)
        assert len([command for command in sink.commands if command.startswith("AUTH")]) == 1


@pytest.mark.parametrize(
    ("reply", "trouble", "definite"),
    [
        ("534 5.7.9 weak", Trouble.AUTH, True),
        ("530 5.7.0 TLS first", Trouble.AUTH, True),
        ("538 encrypt", Trouble.AUTH, True),
        ("454 4.7.0 try later", Trouble.AUTH, False),
        ("421 4.3.2 bye", Trouble.UNAVAILABLE, False),
        ("504 what", Trouble.AUTH, False),
        ("334 more", Trouble.PROTOCOL, False),
        ("334 !!! not base64", Trouble.PROTOCOL, False),
    ],
)
async def test_a_login_refused(log: Path, reply: str, trouble: Trouble, definite: bool) -> None:
    async with Sink(log, user="u", password="p", replies={"auth": reply}) as sink:
        outcome = await try_open(sink, user="u", password="p", timeouts=SHORT)
        assert isinstance(outcome, AccountTrouble)
        assert (outcome.trouble, outcome.definite) == (trouble, definite)
        assert len([command for command in sink.commands if command.startswith("AUTH")]) <= 3


@pytest.mark.parametrize("mechanisms", [(), ("GSSAPI",)])
async def test_without_a_usable_mechanism_nobody_logs_in(log: Path, mechanisms: tuple[str, ...]) -> None:
    async with Sink(log, user="u", password="p", mechanisms=mechanisms) as sink:
        trouble = await try_open(sink, user="u", password="p")
        assert isinstance(trouble, AccountTrouble)
        assert (trouble.trouble, trouble.definite) == (Trouble.AUTH, False)


@pytest.mark.parametrize(("local", "literal"), [("client.example.com", "client.example.com"), (None, None)])
async def test_ehlo_names_this_host(log: Path, local: str | None, literal: str | None) -> None:
    async with Sink(log) as sink:
        await (await opened(sink, local_hostname=local)).quit()
    name = sink.commands[0].removeprefix("EHLO ")
    assert name == literal or (literal is None and (name == "[127.0.0.1]" or "." in name))


@pytest.mark.parametrize("quoted", ["s3cr3t!", "czNjcjN0IQ==", "AHUAczNjcjN0IQ=="])
async def test_a_password_that_the_server_quotes_is_hidden(log: Path, quoted: str) -> None:
    replies = {"auth": f"535 5.7.8 what is {quoted}?"}
    async with Sink(log, user="u", password="other", replies=replies) as sink:
        trouble = await try_open(sink, user="u", password="s3cr3t!")
        assert isinstance(trouble, AccountTrouble)
        assert trouble.trouble is Trouble.AUTH
        assert quoted not in repr(trouble)
        assert "what is ***?" in trouble.cause
