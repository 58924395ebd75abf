"""TLS by account: what `use_tls`, `tls_verify` and `tls_ca` mean, against servers with good and bad certificates."""

import ssl
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from mailproxy.model import Account
from mailproxy.outcome import AccountTrouble, Trouble
from tests.smtp.conftest import ImplicitTlsAccount, opened, try_open
from tests.support.smtp import Sink
from tests.support.tls import Authority, Presented

LOGIN = {"user": "u", "password": "p"}
STRICT = {"starttls": {"use_tls": True}, "implicit": {"use_tls": True}, "465": {"use_tls": None}}
LOOSE = {"opportunistic": {"use_tls": None}}
IMPLICIT = ("implicit", "465")


@pytest.fixture(scope="module")
def presented(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Presented]:
    """What a server shows: a certificate by its name."""
    folder = tmp_path_factory.mktemp("certificates")
    shown = {
        "valid": authority.present(folder),
        "wrong host": authority.present(folder, host="other.example.com"),
        "expired": authority.present(folder, days=-1),
        "of an unknown authority": Authority().present(folder),
        "self-signed": Authority.self_signed(folder),
        "self-signed and expired": Authority.self_signed(folder, days=-1),
    }
    return shown.__getitem__


def kind_of(mode: str) -> type[Account]:
    return ImplicitTlsAccount if mode in IMPLICIT else Account


async def attempt(log: Path, mode: str, server: ssl.SSLContext, **changes: Any) -> Any:
    """Connect and log in once; what came of it and whether the server was told a password."""
    async with Sink(log, tls=server, implicit_tls=mode in IMPLICIT, **LOGIN) as sink:
        options = {**(STRICT | LOOSE)[mode], **LOGIN, **changes}
        outcome = await try_open(sink, kind=kind_of(mode), **options)
        if not isinstance(outcome, AccountTrouble):
            await outcome.quit()
        return outcome, any(command.startswith("AUTH") for command in sink.commands)


BAD = ("wrong host", "expired", "of an unknown authority", "self-signed", "self-signed and expired")


@pytest.mark.parametrize(("mode", "shown"), list(product(STRICT, BAD)))
async def test_where_tls_is_required_a_bad_certificate_ends_the_connection_before_the_login(
    log: Path, presented: Callable[[str], Presented], authority: Authority, mode: str, shown: str
) -> None:
    outcome, told = await attempt(log, mode, presented(shown).context, tls_ca=authority.pem)
    assert isinstance(outcome, AccountTrouble)
    assert (outcome.trouble, outcome.definite, told) == (Trouble.TLS, False, False)


@pytest.mark.parametrize("mode", STRICT)
async def test_without_a_ca_of_its_own_an_account_trusts_the_systems(
    log: Path, presented: Callable[[str], Presented], mode: str
) -> None:
    outcome, told = await attempt(log, mode, presented("valid").context)
    assert isinstance(outcome, AccountTrouble)
    assert (outcome.trouble, told) == (Trouble.TLS, False)


@pytest.mark.parametrize("mode", [*STRICT, *LOOSE])
async def test_the_accounts_ca_is_trusted(
    log: Path, presented: Callable[[str], Presented], authority: Authority, mode: str
) -> None:
    outcome, told = await attempt(log, mode, presented("valid").context, tls_ca=authority.pem)
    assert not isinstance(outcome, AccountTrouble), outcome
    assert outcome.tls in ("TLSv1.2", "TLSv1.3")
    assert told


@pytest.mark.parametrize("mode", [*STRICT, *LOOSE])
async def test_a_self_signed_certificate_may_be_pinned(
    log: Path, presented: Callable[[str], Presented], mode: str
) -> None:
    shown = presented("self-signed")
    outcome, told = await attempt(log, mode, shown.context, tls_ca=shown.pem)
    assert not isinstance(outcome, AccountTrouble), outcome
    assert told


@pytest.mark.parametrize(("mode", "shown"), list(product([*STRICT, *LOOSE], BAD)))
async def test_an_account_may_take_any_certificate(
    log: Path, presented: Callable[[str], Presented], mode: str, shown: str
) -> None:
    outcome, told = await attempt(log, mode, presented(shown).context, tls_verify=False)
    assert not isinstance(outcome, AccountTrouble), outcome
    assert outcome.tls is not None
    assert told


@pytest.mark.parametrize("shown", BAD)
async def test_encryption_where_it_is_offered_verifies_only_with_a_ca(
    log: Path, presented: Callable[[str], Presented], authority: Authority, shown: str
) -> None:
    outcome, _ = await attempt(log, "opportunistic", presented(shown).context)
    assert not isinstance(outcome, AccountTrouble), outcome
    outcome, told = await attempt(log, "opportunistic", presented(shown).context, tls_ca=authority.pem)
    assert isinstance(outcome, AccountTrouble)
    assert (outcome.trouble, told) == (Trouble.TLS, False)


async def test_plain_stays_plain_where_tls_is_offered(
    log: Path, presented: Callable[[str], Presented]
) -> None:
    async with Sink(log, tls=presented("valid").context, **LOGIN) as sink:
        session = await opened(sink, use_tls=False, **LOGIN)
        assert session.tls is None
        await session.quit()
        assert "STARTTLS" not in sink.commands


@pytest.mark.parametrize("use_tls", [True, None])
async def test_port_465_speaks_tls_from_the_first_byte(log: Path, use_tls: bool | None) -> None:
    async with Sink(log) as plain:
        outcome = await try_open(plain, kind=ImplicitTlsAccount, use_tls=use_tls)
        assert isinstance(outcome, AccountTrouble)
        assert outcome.trouble in (Trouble.TLS, Trouble.NETWORK)
        assert plain.commands == []
