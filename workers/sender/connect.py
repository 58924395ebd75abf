"""From an account to a greeted, encrypted and authenticated connection: the module that knows aiosmtplib."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, cast

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPHeloError,
    SMTPNotSupported,
    SMTPResponseException,
    SMTPServerDisconnected,
)

from mailproxy import egress
from mailproxy.model import Account, Seconds, TlsMode
from mailproxy.outcome import AccountTrouble, Stage, Trouble
from mailproxy.reach import Forbidden, Reach
from mailproxy.redaction import as_sent, without
from workers.sender.replies import make_reply
from workers.sender.verdict import judge_connection

_ANOTHER_MECHANISM: Final = frozenset({504, 534})


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait: `body_progress` for each step, `dot` for the final reply (RFC 5321 §4.5.3.2)."""

    connect: Seconds = 30.0
    greeting: Seconds = 60.0
    command: Seconds = 60.0
    data: Seconds = 120.0
    body_progress: Seconds = 180.0
    dot: Seconds = 600.0


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What EHLO offered; `size` is None without a limit (RFC 1870)."""

    pipelining: bool = False
    eightbit: bool = False
    smtputf8: bool = False
    size_parameter: bool = False
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """An open connection past AUTH; `tls` is its protocol version, None in clear."""

    transport: asyncio.Transport
    capabilities: Capabilities
    tls: str | None


async def connect(
    account: Account,
    timeouts: Timeouts,
    local_hostname: str | None,
    reach: Reach,
    *,
    require_tls: bool,
) -> Link | AccountTrouble:
    """Open a connection as the account says; `require_tls` refuses an opportunistic one in clear."""
    sock = await _open_socket(account, timeouts.connect, reach)
    if isinstance(sock, AccountTrouble):
        return sock
    try:
        client = _client(account, sock, timeouts, local_hostname)
    except (ssl.SSLError, ValueError) as error:
        sock.close()
        kind = Trouble.TLS if isinstance(error, ssl.SSLError) else Trouble.PROTOCOL
        return AccountTrouble(kind, f"the account's settings cannot be used: {error}")
    dialling = _Dialling(client, account, require_tls)
    running = asyncio.ensure_future(dialling.run(timeouts.greeting))
    try:
        await asyncio.wait([running])
    except asyncio.CancelledError:
        # Python 3.11's wait_for, used below, can swallow a cancellation: the dead socket cannot be overlooked.
        running.cancel()
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        await asyncio.wait([running])
        dialling.done = False
        raise
    finally:
        if not dialling.done:
            client.close()
    return running.result()


class _Dialling:
    """The steps up to AUTH; `stage` says how far they got."""

    def __init__(self, client: SMTP, account: Account, require_tls: bool) -> None:
        self.client = client
        self.account = account
        self.require_tls = require_tls
        self.stage = Stage.CONNECT
        self.done = False

    async def run(self, greeting_timeout: Seconds) -> Link | AccountTrouble:
        try:
            return await self._steps(greeting_timeout)
        except (SMTPException, OSError) as error:
            secrets = as_sent(self.account.user, self.account.password)
            return _trouble(self.stage, error, secrets)

    async def _steps(self, greeting_timeout: Seconds) -> Link | AccountTrouble:
        await self.client.connect(timeout=greeting_timeout)
        await self._hello()
        if self._wants_starttls():
            self.stage = Stage.TLS
            await self.client.starttls()
            await self._hello()
        if trouble := self._insecure():
            return trouble
        if self._logs_in():
            self.stage = Stage.AUTH
            await self._log_in(self.account.user or "", self.account.password or "")
        capabilities = _capabilities(self.client.esmtp_extensions)
        if not self.client.is_connected:
            raise SMTPServerDisconnected("connection lost")
        self.done = True
        return Link(cast("asyncio.Transport", self.client.transport), capabilities, self._tls_version())

    def _logs_in(self) -> bool:
        """Only with both halves of a login, as the reference does (REFERENCE §9)."""
        return bool(self.account.user and self.account.password)

    async def _hello(self) -> None:
        self.stage = Stage.EHLO
        try:
            await self.client.ehlo()
        except SMTPHeloError as refusal:
            if refusal.code < 500 or not self.client.is_connected:
                raise
            await self.client.helo()

    def _wants_starttls(self) -> bool:
        match self.account.tls_mode:
            case TlsMode.STARTTLS:
                return True
            case TlsMode.OPPORTUNISTIC:
                return self.require_tls or self.client.supports_extension("starttls")
            case TlsMode.NONE | TlsMode.IMPLICIT:
                return False

    def _insecure(self) -> AccountTrouble | None:
        """Credentials go in clear only to this host, or when the account says so (CONTRACT §4)."""
        allowed = not self._logs_in() or self.account.use_tls is False
        if allowed or self._tls_version() is not None or self._is_local():
            return None
        return AccountTrouble(Trouble.TLS, "the server offers no TLS and credentials are not sent in clear")

    async def _log_in(self, user: str, password: str) -> None:
        mechanisms = {
            "cram-md5": self.client.auth_crammd5,
            "plain": self.client.auth_plain,
            "login": self.client.auth_login,
        }
        # CRAM-MD5 hides the password on the wire but makes the server keep it in clear: last, once encrypted.
        names = ("plain", "login", "cram-md5") if self._tls_version() else tuple(mechanisms)
        refusal: SMTPException = SMTPNotSupported("the server offers no usable AUTH mechanism")
        for name in names:
            if name not in self.client.server_auth_methods:
                continue
            try:
                await mechanisms[name](user, password)
            except SMTPAuthenticationError as error:
                # One wrong password is tried once: the next mechanism could only lock the mailbox.
                refusal = error
                if error.code not in _ANOTHER_MECHANISM:
                    break
            else:
                return
        raise refusal

    def _tls_version(self) -> str | None:
        ssl_object = self.client.get_transport_info("ssl_object")
        return ssl_object.version() if ssl_object is not None else None

    def _is_local(self) -> bool:
        return ipaddress.ip_address(self.client.get_transport_info("peername")[0]).is_loopback


async def _open_socket(account: Account, timeout: Seconds, reach: Reach) -> socket.socket | AccountTrouble:
    try:
        async with asyncio.timeout(timeout):
            found = await reach.addresses(account.host, account.port, guarded=account.host_set_by_tenant)
            if isinstance(found, Forbidden):
                return AccountTrouble(Trouble.FORBIDDEN, egress.advice(found.reason))
            return await _first_answering(found, account.port, timeout)
    except (socket.gaierror, UnicodeError) as error:
        return AccountTrouble(Trouble.DNS, f"{account.host}: {error}")
    except ConnectionRefusedError:
        return AccountTrouble(Trouble.REFUSED, f"{account.host}:{account.port} refused the connection")
    except TimeoutError:
        return AccountTrouble(
            Trouble.NETWORK, f"{account.host}:{account.port} did not answer in {timeout:g} s"
        )
    except OSError as error:
        return AccountTrouble(Trouble.NETWORK, f"{account.host}:{account.port}: {error}")


async def _first_answering(addresses: Sequence[str], port: int, timeout: Seconds) -> socket.socket:
    loop = asyncio.get_running_loop()
    failure: OSError = socket.gaierror("no address")
    for address in addresses:
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        # Body and dot are two small writes: Nagle's algorithm would hold the dot for 40 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            async with asyncio.timeout(timeout / len(addresses)):
                await loop.sock_connect(sock, (address, port))
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


def _client(account: Account, sock: socket.socket, timeouts: Timeouts, local_hostname: str | None) -> SMTP:
    mode = account.tls_mode
    # Opportunistic encryption that insisted on a certificate would only drive people to send in clear.
    verify = account.tls_verify and (mode is not TlsMode.OPPORTUNISTIC or account.tls_ca is not None)
    return SMTP(
        hostname=account.host,
        sock=sock,
        use_tls=mode is TlsMode.IMPLICIT,
        start_tls=False,
        tls_context=None if mode is TlsMode.NONE else _tls_context(verify, account.tls_ca),
        local_hostname=local_hostname or _own_name(sock),
        timeout=timeouts.command,
    )


@lru_cache(maxsize=64)
def _tls_context(verify: bool, authorities: str | None) -> ssl.SSLContext:
    """Cached: loading the system's authorities costs tens of milliseconds. `authorities` is PEM text."""
    context = ssl.create_default_context(cadata=authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _own_name(sock: socket.socket) -> str:
    """The host's full name if it has one, else an address literal (RFC 5321 §4.1.4); never asks the DNS."""
    name = socket.gethostname()
    if "." in name and name.isascii():
        return name
    address = sock.getsockname()[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _capabilities(extensions: dict[str, str]) -> Capabilities:
    limit = 0
    with suppress(ValueError):
        limit = int(extensions.get("size", ""))
    return Capabilities(
        pipelining="pipelining" in extensions,
        eightbit="8bitmime" in extensions,
        smtputf8="smtputf8" in extensions,
        size_parameter="size" in extensions,
        size=limit if limit > 0 else None,
    )


def _trouble(stage: Stage, error: SMTPException | OSError, secrets: Sequence[str]) -> AccountTrouble:
    if isinstance(error, SMTPResponseException):
        text = error.message.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        reply = make_reply(error.code, without(text.replace("\n", " "), secrets))
        return judge_connection(stage, reply)
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return AccountTrouble(Trouble.TLS, f"no TLS connection: {error}")
    if isinstance(error, OSError):
        return AccountTrouble(Trouble.NETWORK, f"{stage}: {error}")
    kind = {Stage.AUTH: Trouble.AUTH, Stage.TLS: Trouble.TLS}.get(stage, Trouble.PROTOCOL)
    return AccountTrouble(kind, without(str(error), secrets))
