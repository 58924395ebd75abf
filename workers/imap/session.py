"""A mailbox's connection, from its settings to a session that is logged in; each step ends by its deadline."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from enum import StrEnum
from functools import lru_cache, partial
from typing import TypeVar

from mailproxy import egress
from mailproxy.inbound import Encryption, Mailbox
from mailproxy.model import Seconds
from mailproxy.reach import Forbidden, Reach
from mailproxy.redaction import as_sent, without
from workers.imap.protocol import Dialogue, Refusal

CONNECT: Seconds = 30.0
COMMAND: Seconds = 120.0
FETCH: Seconds = 600.0
FAREWELL: Seconds = 2.0

T = TypeVar("T")


class Stage(StrEnum):
    """What was under way."""

    CONNECT = "connect"
    LOGIN = "login"
    FOLDER = "folder"
    READ = "read"
    FETCH = "fetch"


class Trouble(Exception):
    """A mailbox cannot be read further now. `lost`: the connection is of no more use."""

    def __init__(self, stage: Stage, text: str, *, lost: bool = True) -> None:
        super().__init__(f"{stage}: {text}")
        self.stage = stage
        self.lost = lost


class Session:
    """Commands one after the other, each in a thread: what hangs is cut off at its socket."""

    def __init__(self, connected: socket.socket, mailbox: Mailbox, threads: Executor) -> None:
        self._mailbox = mailbox
        self._threads = threads
        # TLS takes the socket over; this one stays ours, to end the connection from outside the thread.
        self._cutter = socket.socket(fileno=os.dup(connected.fileno()))
        self._connected = connected
        self._dialogue: Dialogue | None = None

    @property
    def idles(self) -> bool:
        return self._dialogue is not None and "IDLE" in self._dialogue.able

    async def begin(self) -> None:
        """Greeting, TLS and login."""
        await self._run(Stage.CONNECT, COMMAND, self._greet)
        await self._run(Stage.LOGIN, COMMAND, self._log_in)

    def _greet(self) -> None:
        box = self._mailbox
        tls = _tls(box.tls_verify, box.tls_ca)
        implicit = tls if box.encryption is Encryption.IMPLICIT else None
        self._dialogue = Dialogue(self._connected, box.host, box.port, implicit)
        self._dialogue.secure(box.encryption, tls)

    def _log_in(self) -> None:
        self._open.log_in(self._mailbox.user, self._mailbox.password)

    @property
    def _open(self) -> Dialogue:
        assert self._dialogue is not None, "the session has begun"
        return self._dialogue

    async def open_folder(self) -> int:
        box = self._mailbox
        opening = partial(self._open.open_folder, box.folder, readonly=not box.disposes)
        return await self._run(Stage.FOLDER, COMMAND, opening)

    async def uids_after(self, last: int) -> list[int]:
        return await self._run(Stage.READ, COMMAND, partial(self._open.uids_after, last))

    async def sizes(self, uids: Sequence[int]) -> dict[int, int]:
        return await self._run(Stage.READ, COMMAND, partial(self._open.sizes, uids))

    async def mail(self, uid: int) -> bytes | None:
        return await self._run(Stage.FETCH, FETCH, partial(self._open.mail, uid))

    async def header(self, uid: int) -> bytes | None:
        return await self._run(Stage.FETCH, COMMAND, partial(self._open.header, uid))

    @property
    def _is_shared(self) -> bool:
        return self._mailbox.account_pk is not None

    async def delete(self, uids: Sequence[int]) -> None:
        await self._run(Stage.READ, COMMAND, partial(self._open.remove, uids, shared=self._is_shared))

    async def mark_seen(self, uids: Sequence[int]) -> None:
        await self._run(Stage.READ, COMMAND, partial(self._open.mark_seen, uids))

    async def move(self, uids: Sequence[int], folder: str) -> None:
        await self._run(Stage.READ, COMMAND, partial(self._open.move, uids, folder, shared=self._is_shared))

    async def idle(self, seconds: Seconds) -> None:
        await self._run(Stage.READ, seconds + COMMAND, partial(self._open.idle, seconds))

    async def end(self) -> None:
        """Say farewell if there is time for it; the connection is closed in any case."""
        try:
            if self._dialogue is not None:
                with suppress(Trouble):
                    await self._run(Stage.READ, FAREWELL, self._dialogue.logout)
        finally:
            self.cut()

    def cut(self) -> None:
        """Whatever waits for the server ends now, in whichever thread."""
        with suppress(OSError):
            self._cutter.shutdown(socket.SHUT_RDWR)
        self._cutter.close()
        self._connected.close()
        if self._dialogue is not None:
            self._dialogue.sock.close()

    async def _run(self, stage: Stage, within: Seconds, work: Callable[[], T]) -> T:
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            done, _ = await asyncio.wait([running], timeout=within)
        except asyncio.CancelledError:
            await self._abandon(running)
            raise
        if not done:
            await self._abandon(running)
            raise Trouble(stage, f"the server needs more than {within:g} s")
        try:
            return running.result()
        except Refusal as error:
            raise Trouble(stage, self._clean(error), lost=isinstance(error, Dialogue.abort)) from None
        except (OSError, ValueError) as error:
            raise Trouble(stage, self._clean(error)) from None

    async def _abandon(self, running: "asyncio.Future[T]") -> None:
        with suppress(OSError):
            self._cutter.shutdown(socket.SHUT_RDWR)
        await asyncio.wait([running], timeout=FAREWELL)
        if running.done() and not running.cancelled():
            running.exception()

    def _clean(self, error: Exception) -> str:
        """What the server or the network said, without the login."""
        said = error.args[0] if error.args and isinstance(error.args[0], bytes) else str(error)
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        return without(text, as_sent(self._mailbox.user, self._mailbox.password))[:300]


async def connect(mailbox: Mailbox, reach: Reach, threads: Executor) -> Session:
    """A session that is logged in; raises Trouble."""
    session = Session(await _socket(mailbox, reach), mailbox, threads)
    try:
        await session.begin()
    except BaseException:
        session.cut()
        raise
    return session


async def _socket(mailbox: Mailbox, reach: Reach) -> socket.socket:
    try:
        async with asyncio.timeout(CONNECT):
            found = await reach.addresses(mailbox.host, mailbox.port, guarded=mailbox.guarded)
            if isinstance(found, Forbidden):
                raise Trouble(Stage.CONNECT, egress.advice(found.reason))
            return await _first_answering(found, mailbox.port)
    except TimeoutError:
        raise Trouble(Stage.CONNECT, f"{mailbox.host}:{mailbox.port} does not answer") from None
    except (OSError, UnicodeError) as error:
        raise Trouble(Stage.CONNECT, f"{mailbox.host}:{mailbox.port}: {error}") from None


async def _first_answering(addresses: Sequence[str], port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    failure: OSError = socket.gaierror("no address")
    for address in addresses:
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            async with asyncio.timeout(CONNECT / len(addresses)):
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


@lru_cache(maxsize=64)
def _tls(verify: bool, authorities: str | None) -> ssl.SSLContext:
    """The system's authorities, and an account's own beside them: its SMTP server may be one of its own alone."""
    context = ssl.create_default_context()
    if authorities:
        context.load_verify_locations(cadata=authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
