"""The IMAP dialogue over a connected socket, blocking: imaplib under limits of our own. The module that knows it."""

import imaplib
import re
import socket
import ssl
import time
from collections.abc import Iterator, Sequence

from mailproxy.inbound import Encryption
from mailproxy.model import Seconds

MOST_MAIL = 25 << 20
MOST_HEADER = 64 << 10
MOST_LINE = 8 << 20
MOST_LINES = 16 << 20
SILENCE: Seconds = 60.0
LAST_UID = (1 << 32) - 1

Refusal = imaplib.IMAP4.error
"""The server's no, or nonsense: then the connection is of no more use (`imaplib.IMAP4.abort`)."""

_SIZE = re.compile(rb"RFC822\.SIZE (\d{1,19})", re.IGNORECASE)
_UID = re.compile(rb"[ (]UID (\d{1,10})\b", re.IGNORECASE)
_CHANGED = re.compile(rb"\* (\d{1,10}) (EXISTS|EXPUNGE)\b", re.IGNORECASE)
_QUOTED_BODY = re.compile(rb'BODY\[[^\]]*\](?:<\d+>)? "((?:[^"\\]|\\.)*)"', re.IGNORECASE)


class Dialogue(imaplib.IMAP4):
    """imaplib asks `read` and `readline` for what came, and does so here: never more than the limits, and no
    octet that came in clear counts once TLS has begun."""

    def __init__(self, connected: socket.socket, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """`tls` encrypts from the first octet on."""
        self._connected = connected
        self._tls = tls
        self._buffered: tuple[socket.socket | None, bytearray] = (None, bytearray())
        self._lines_left = MOST_LINES
        self._literals_left = MOST_MAIL
        self._mails = 0
        self._arrived = False
        self.able: frozenset[str] = frozenset()
        super().__init__(host, port, timeout=SILENCE)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        self._connected.settimeout(timeout)
        if self._tls is None:
            return self._connected
        return self._tls.wrap_socket(self._connected, server_hostname=self.host)

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        super().open(host, port, timeout)
        self._close_unused()

    def _close_unused(self) -> None:
        """imaplib's own reader, which would keep the socket from being closed."""
        for name in ("file", "_file"):
            if (reader := vars(self).get(name)) is not None:
                reader.close()

    def _buffer(self) -> bytearray:
        owner, buffer = self._buffered
        if owner is not self.sock:
            if buffer:
                raise self.abort("the server spoke in clear after STARTTLS")
            buffer = bytearray()
            self._buffered = (self.sock, buffer)
        return buffer

    def _fill(self, buffer: bytearray) -> None:
        octets = self.sock.recv(1 << 16)
        if not octets:
            raise self.abort("the server closed the connection")
        buffer += octets

    def read(self, size: int) -> bytes:
        self._literals_left -= size
        if self._literals_left < 0:
            raise self.abort(f"a literal of {size} octets, at most {MOST_MAIL} are read of an answer")
        buffer = self._buffer()
        while len(buffer) < size:
            self._fill(buffer)
        octets = bytes(buffer[:size])
        del buffer[:size]
        return octets

    def readline(self) -> bytes:
        buffer, looked = self._buffer(), 0
        while (end := buffer.find(b"\n", looked)) < 0:
            if len(buffer) > MOST_LINE:
                raise self.abort("a line without an end")
            looked = len(buffer)
            self._fill(buffer)
        line = bytes(buffer[: end + 1])
        del buffer[: end + 1]
        self._lines_left -= len(line)
        if self._lines_left < 0:
            raise self.abort("an answer without an end")
        if changed := _CHANGED.match(line):
            self._count(int(changed[1]), changed[2].upper())
        return line

    def _count(self, number: int, change: bytes) -> None:
        """Servers tell of new mail in the answer to any command, and in none a second time."""
        if change == b"EXPUNGE":
            self._mails -= 1
            return
        self._arrived |= number > self._mails
        self._mails = number

    # -- what a reader asks for

    def secure(self, encryption: Encryption, tls: ssl.SSLContext) -> None:
        offered = "STARTTLS" in self.capabilities
        if encryption is Encryption.STARTTLS or (encryption is Encryption.IF_OFFERED and offered):
            self.starttls(tls)
            self._close_unused()

    def log_in(self, user: str, password: str) -> None:
        if "AUTH=PLAIN" in self.capabilities:
            secret = f"\0{user}\0{password}".encode()
            self.authenticate("PLAIN", lambda _: secret)
        else:
            self.login(user, password)
        self._said(self.capability())

    def _said(self, answer: tuple[str, Sequence[object]]) -> frozenset[str]:
        _, told = answer
        text = b" ".join(one for one in told if isinstance(one, bytes))
        self.able = frozenset(text.decode("ascii", "replace").upper().split())
        return self.able

    def open_folder(self, folder: str, *, readonly: bool) -> int:
        """Its UIDVALIDITY; without one nothing could be told apart later."""
        self._begin()
        self._mails = 0
        status, told = self.select(_quoted(folder), readonly)
        if status != "OK":
            raise self.error(f"the folder {folder!r} cannot be opened: {_text(told)}")
        _, found = self.response("UIDVALIDITY")
        number = found[0] if found else None
        if not isinstance(number, bytes) or not number.isdigit() or not 0 < int(number) <= LAST_UID:
            raise self.error("the server names no UIDVALIDITY")
        return int(number)

    def uids_after(self, last: int) -> list[int]:
        """Ascending; servers answer `n:*` with the last UID even where that is below n."""
        if last >= LAST_UID:
            return []
        self._begin()
        self._arrived = False
        told = self._asked("SEARCH", "UID", f"{last + 1}:*")
        words = [word for one in told if isinstance(one, bytes) for word in one.split()]
        numbers = {int(word) for word in words if word.isdigit() and len(word) <= 10}
        return sorted(uid for uid in numbers if last < uid <= LAST_UID)

    def sizes(self, uids: Sequence[int]) -> dict[int, int]:
        """Of those that are there; what a server says of sizes is a hint, the limits hold anyway."""
        self._begin()
        told = self._asked("FETCH", _set(uids), "(UID RFC822.SIZE)")
        found = {}
        for one in told:
            line = one if isinstance(one, bytes) else one[0] if isinstance(one, tuple) else b""
            uid, size = _UID.search(line), _SIZE.search(line)
            if uid and size:
                found[int(uid[1])] = int(size[1])
        return found

    def mail(self, uid: int) -> bytes | None:
        """The whole mail; None when the server says yes and gives none: it is gone."""
        return self._section(uid, "BODY.PEEK[]")

    def header(self, uid: int) -> bytes | None:
        return self._section(uid, f"BODY.PEEK[HEADER]<0.{MOST_HEADER}>")

    def _section(self, uid: int, section: str) -> bytes | None:
        self._begin()
        told = self._asked("FETCH", str(uid), f"(UID {section})")
        for octets, around in _bodies(told):
            named = _UID.search(around)
            if named and int(named[1]) == uid:
                return octets
        if any(b" NIL" in one for one in told if isinstance(one, bytes)):
            raise self.error("the server has the mail, and gives nothing of it")
        return None

    def remove(self, uids: Sequence[int], *, shared: bool) -> None:
        """In a mailbox that is `shared`, a server without UIDPLUS would also remove what somebody else has flagged."""
        self._begin()
        self._asked("STORE", _set(uids), "+FLAGS.SILENT", r"(\Deleted)")
        if "UIDPLUS" in self.able:
            self._asked("EXPUNGE", _set(uids))
        elif not shared:
            self.expunge()

    def mark_seen(self, uids: Sequence[int]) -> None:
        self._begin()
        self._asked("STORE", _set(uids), "+FLAGS.SILENT", r"(\Seen)")

    def move(self, uids: Sequence[int], folder: str, *, shared: bool) -> None:
        """The folder is made where there is none."""
        self._begin()
        command = "MOVE" if "MOVE" in self.able else "COPY"
        status, told = self.uid(command, _set(uids), _quoted(folder))
        if status != "OK":
            self.create(_quoted(folder))
            status, told = self.uid(command, _set(uids), _quoted(folder))
        if status != "OK":
            raise self.error(f"the folder {folder!r} takes nothing: {_text(told)}")
        if command == "COPY":
            self.remove(uids, shared=shared)

    def idle(self, seconds: Seconds) -> None:
        """Until new mail is told of, at most `seconds` (RFC 2177); not at all where it was since the last search."""
        self._begin()
        if self._arrived:
            return
        ends_at = time.monotonic() + seconds
        self.send(b"IDLE1 IDLE\r\n")
        while not (line := self.readline()).startswith(b"+"):
            if not line.startswith(b"*"):
                raise self.abort(f"IDLE was answered with {line[:80]!r}")
        try:
            while not self._arrived and (left := ends_at - time.monotonic()) > 0:
                self.sock.settimeout(left)
                line = self.readline()
                if line.startswith(b"* BYE"):
                    raise self.abort("the server said BYE")
                if b"EXISTS" in line.upper():
                    break
        except TimeoutError:
            pass
        finally:
            self.sock.settimeout(SILENCE)
        self.send(b"DONE\r\n")
        while not self.readline().startswith(b"IDLE1 "):
            pass

    def _begin(self) -> None:
        """What an earlier answer left unread is not the answer to what is asked now."""
        self._lines_left = MOST_LINES
        self._literals_left = MOST_MAIL
        self.untagged_responses.clear()

    def _asked(self, command: str, *arguments: str) -> Sequence[object]:
        status, told = self.uid(command, *arguments)
        if status != "OK":
            raise self.error(f"{command} was refused: {_text(told)}")
        return told


def _bodies(told: Sequence[object]) -> Iterator[tuple[bytes, bytes]]:
    """Each body with what the server wrote around it."""
    for number, one in enumerate(told):
        if isinstance(one, tuple):
            after = told[number + 1] if number + 1 < len(told) else b""
            yield one[1], one[0] + b" " + (after if isinstance(after, bytes) else b"")
        elif isinstance(one, bytes) and (quoted := _QUOTED_BODY.search(one)):
            yield re.sub(rb"\\(.)", rb"\1", quoted[1]), one


def _set(uids: Sequence[int]) -> str:
    return ",".join(map(str, uids))


def _text(told: Sequence[object]) -> str:
    return b" ".join(one for one in told if isinstance(one, bytes)).decode("utf-8", "replace")[:200]


def _quoted(folder: str) -> str:
    """A folder's name as a quoted string, in modified UTF-7 (RFC 3501 §5.1.3)."""
    encoded = re.sub(r"[^\x20-\x7e]+|&", _shifted, folder)
    return '"' + encoded.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _shifted(run: re.Match[str]) -> str:
    if run[0] == "&":
        return "&-"
    base64 = run[0].encode("utf-7")[1:-1].decode()
    return "&" + base64.replace("/", ",") + "-"
