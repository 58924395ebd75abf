"""An IMAP server on loopback with one user, folders that a test fills, and every kind of manners."""

import asyncio
import base64
import re
import ssl
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|\(([^()]*)\)|(\S+)')
_PARTIAL = re.compile(r"<0\.(\d+)>")


@dataclass(slots=True)
class Mail:
    uid: int
    octets: bytes
    flags: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Folder:
    uidvalidity: int = 1
    next_uid: int = 1
    mails: list[Mail] = field(default_factory=list)

    def of(self, uids: Iterable[int]) -> Iterator[Mail]:
        wanted = set(uids)
        return (mail for mail in list(self.mails) if mail.uid in wanted)


@dataclass(slots=True)
class Manners:
    """What the server does wrong: `cut`, `refuse`, `nothing`, `nil`: when the body of these UIDs is fetched;
    `claim`: octets a literal promises beyond those it has; `bye`: before answering this command; `stray`: UIDs
    a search answers with besides; `sizes`: what RFC822.SIZE says instead; `times`: how often a body is sent;
    `silent`: no greeting; `deaf`: no answer to this command; `arrive`: mail that comes, and is told of, while this
    command is answered."""

    cut: set[int] = field(default_factory=set)
    refuse: set[int] = field(default_factory=set)
    nothing: set[int] = field(default_factory=set)
    nil: set[int] = field(default_factory=set)
    expunge: set[int] = field(default_factory=set)
    claim: dict[int, int] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)
    stray: list[int] = field(default_factory=list)
    bye: str | None = None
    no_uidvalidity: bool = False
    silent: bool = False
    deaf: str | None = None
    arrive: dict[str, bytes] = field(default_factory=dict)


class Imap:
    """`tls` encrypts from the start, or after STARTTLS where `starttls` is set."""

    def __init__(
        self,
        *,
        able: str = "IDLE UIDPLUS MOVE AUTH=PLAIN",
        tls: ssl.SSLContext | None = None,
        starttls: bool = False,
        login: tuple[str, str] = ("bounces", "secret"),
    ) -> None:
        self.able = able
        self.login = login
        self.folders: dict[str, Folder] = {"INBOX": Folder()}
        self.manners = Manners()
        self.commands: list[str] = []
        self.logins = 0
        self._tls = tls
        self._starttls = starttls
        self._changed: set[asyncio.Event] = set()
        self._sessions: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def inbox(self) -> Folder:
        return self.folders["INBOX"]

    def deliver(self, octets: bytes, folder: str = "INBOX") -> int:
        into = self.folders[folder]
        mail = Mail(into.next_uid, octets)
        into.next_uid += 1
        into.mails.append(mail)
        for changed in self._changed:
            changed.set()
        return mail.uid

    def renumber(self, folder: str = "INBOX") -> None:
        """As after a restore: the mails are the same, their UIDs and UIDVALIDITY are not."""
        into = self.folders[folder]
        into.uidvalidity += 1
        for uid, mail in enumerate(into.mails, 1):
            mail.uid = uid
        into.next_uid = len(into.mails) + 1
        self.hang_up()

    def hang_up(self) -> None:
        for session in self._sessions:
            session.cancel()

    async def __aenter__(self) -> Self:
        context = None if self._starttls else self._tls
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.hang_up()
        if self._sessions:
            await asyncio.wait(self._sessions)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = asyncio.create_task(self._serve(reader, writer))
        self._sessions.add(session)
        with suppress(asyncio.CancelledError):
            await asyncio.wait([session])
        self._sessions.discard(session)
        if not session.cancelled():
            session.exception()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = _Session(self, reader, writer)
        changed = session.changed
        self._changed.add(changed)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, _Goodbye):
                await session.run()
        finally:
            self._changed.discard(changed)
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    @property
    def starttls_context(self) -> ssl.SSLContext | None:
        return self._tls if self._starttls else None


class _Goodbye(Exception):
    pass


class _Session:
    def __init__(self, server: Imap, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer
        self.changed = asyncio.Event()
        self.folder = Folder()
        self.secure = server.starttls_context is None

    async def run(self) -> None:
        if self.server.manners.silent:
            self.server.commands.append("silence")
            await asyncio.Event().wait()
        self.say("* OK ready")
        while line := (await self.reader.readline()).decode("utf-8", "replace").rstrip("\r\n"):
            tag, _, rest = line.partition(" ")
            name, _, arguments = rest.partition(" ")
            name = name.upper()
            if name == "UID":
                name, _, arguments = arguments.partition(" ")
                name = f"UID {name.upper()}"
            self.server.commands.append(name)
            if self.server.manners.bye == name:
                self.server.manners.bye = None
                self.say("* BYE going down")
                raise _Goodbye
            if self.server.manners.deaf == name:
                await self.reader.read()
                return
            if name in self.server.manners.arrive:
                self.server.deliver(self.server.manners.arrive.pop(name))
                self.changed.clear()
                self.say(f"* {len(self.folder.mails)} EXISTS")
            handler = getattr(self, "do_" + name.lower().replace(" ", "_"), None)
            answer = "BAD what?" if handler is None else await handler(tag, _words(arguments))
            self.say(f"{tag} {answer} done")
            await self.writer.drain()
            if name == "LOGOUT":
                return
            if name == "STARTTLS":
                context = self.server.starttls_context
                assert context is not None
                await self.writer.start_tls(context)
                self.secure = True

    def say(self, text: str) -> None:
        self.writer.write(text.encode() + b"\r\n")

    async def do_capability(self, tag: str, words: list[str]) -> str:
        able = self.server.able if self.secure else "STARTTLS LOGINDISABLED"
        self.say(f"* CAPABILITY IMAP4rev1 {able}")
        return "OK"

    async def do_noop(self, tag: str, words: list[str]) -> str:
        return "OK"

    async def do_starttls(self, tag: str, words: list[str]) -> str:
        return "OK begin"

    async def do_logout(self, tag: str, words: list[str]) -> str:
        self.say("* BYE")
        return "OK"

    async def do_login(self, tag: str, words: list[str]) -> str:
        return self._judge(tuple(words))

    async def do_authenticate(self, tag: str, words: list[str]) -> str:
        self.say("+ ")
        await self.writer.drain()
        _, user, password = base64.b64decode(await self.reader.readline()).decode().split("\0")
        return self._judge((user, password))

    def _judge(self, given: tuple[str, ...]) -> str:
        if not self.secure or given != self.server.login:
            return f"NO [AUTHENTICATIONFAILED] {given[-1]} is wrong"
        self.server.logins += 1
        return "OK"

    async def do_select(self, tag: str, words: list[str]) -> str:
        if words[0] not in self.server.folders:
            return "NO no such folder"
        self.folder = self.server.folders[words[0]]
        self.say(f"* {len(self.folder.mails)} EXISTS")
        if not self.server.manners.no_uidvalidity:
            self.say(f"* OK [UIDVALIDITY {self.folder.uidvalidity}] valid")
        return "OK [READ-WRITE]"

    do_examine = do_select

    async def do_create(self, tag: str, words: list[str]) -> str:
        self.server.folders.setdefault(words[0], Folder())
        return "OK"

    async def do_uid_search(self, tag: str, words: list[str]) -> str:
        first = int(words[-1].partition(":")[0])
        uids = [mail.uid for mail in self.folder.mails]
        found = [uid for uid in uids if uid >= first] or uids[-1:]
        self.say("* SEARCH " + " ".join(map(str, [*self.server.manners.stray, *found])))
        return "OK"

    async def do_uid_fetch(self, tag: str, words: list[str]) -> str:
        wrong = self.server.manners
        for mail in self.folder.of(_uids(words[0])):
            number = self.folder.mails.index(mail) + 1
            if "RFC822.SIZE" in words[1]:
                size = wrong.sizes.get(mail.uid, len(mail.octets))
                self.say(f"* {number} FETCH (UID {mail.uid} RFC822.SIZE {size})")
            elif mail.uid in wrong.refuse:
                return "NO not now"
            elif mail.uid in wrong.expunge:
                self.folder.mails.remove(mail)
                self.say(f"* {number} EXPUNGE")
            elif mail.uid in wrong.nil:
                self.say(f"* {number} FETCH (UID {mail.uid} BODY[] NIL)")
            elif mail.uid not in wrong.nothing:
                for _ in range(wrong.times.get(mail.uid, 1)):
                    await self._body(number, mail, words[1])
        return "OK"

    async def _body(self, number: int, mail: Mail, section: str) -> None:
        wrong = self.server.manners
        octets = mail.octets
        name = "BODY[]"
        if partial := _PARTIAL.search(section):
            name = "BODY[HEADER]<0>"
            octets = octets.partition(b"\r\n\r\n")[0][: int(partial[1])]
        self.say(f"* {number} FETCH (UID {mail.uid} {name} {{{len(octets) + wrong.claim.get(mail.uid, 0)}}}")
        if mail.uid in wrong.cut:
            self.writer.write(octets[: len(octets) // 2])
            await self.writer.drain()
            raise _Goodbye
        self.writer.write(octets)
        self.say(")")
        await self.writer.drain()

    async def do_uid_store(self, tag: str, words: list[str]) -> str:
        for mail in self.folder.of(_uids(words[0])):
            mail.flags.update(words[-1].split())
        return "OK"

    async def do_uid_expunge(self, tag: str, words: list[str]) -> str:
        return self._expunge(set(_uids(words[0])))

    async def do_expunge(self, tag: str, words: list[str]) -> str:
        return self._expunge({mail.uid for mail in self.folder.mails})

    def _expunge(self, uids: set[int]) -> str:
        for mail in self.folder.of(uids):
            if "\\Deleted" in mail.flags:
                self.say(f"* {self.folder.mails.index(mail) + 1} EXPUNGE")
                self.folder.mails.remove(mail)
        return "OK"

    async def do_uid_move(self, tag: str, words: list[str]) -> str:
        answer = await self.do_uid_copy(tag, words)
        if answer == "OK":
            gone = set(_uids(words[0]))
            self.folder.mails = [mail for mail in self.folder.mails if mail.uid not in gone]
        return answer

    async def do_uid_copy(self, tag: str, words: list[str]) -> str:
        if words[1] not in self.server.folders:
            return "NO [TRYCREATE] no such folder"
        for mail in self.folder.of(_uids(words[0])):
            self.server.deliver(mail.octets, words[1])
        return "OK"

    async def do_idle(self, tag: str, words: list[str]) -> str:
        self.changed.clear()
        self.say("+ idling")
        await self.writer.drain()
        done = asyncio.create_task(self.reader.readline())
        while not done.done():
            changed = asyncio.create_task(self.changed.wait())
            await asyncio.wait([done, changed], return_when=asyncio.FIRST_COMPLETED)
            if changed.done():
                self.changed.clear()
                self.say(f"* {len(self.folder.mails)} EXISTS")
                await self.writer.drain()
            changed.cancel()
        return "OK"


def _words(arguments: str) -> list[str]:
    return [
        re.sub(r"\\(.)", r"\1", quoted) if quoted or not (group or word) else group or word
        for quoted, group, word in _WORD.findall(arguments)
    ]


def _uids(numbers: str) -> list[int]:
    return [int(number) for number in numbers.split(",")]
