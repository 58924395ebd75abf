"""What a supervisor and its child say to each other: JSON lines on a socket pair."""

import json
import socket
from dataclasses import asdict, dataclass
from typing import Any

from mailproxy.model import AccountPk

AccountSlot = tuple[AccountPk, int]

_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Ready:
    """The child has come up: a death from now on is not a death at birth."""


@dataclass(frozen=True, slots=True)
class Beat:
    """The child's event loop turns."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Scout to supervisor: these accounts have work, the most urgent first.

    A level, not an edge: always the complete list of this node, sent again when it changes, also when empty.
    """

    accounts: tuple[AccountSlot, ...]


@dataclass(frozen=True, slots=True)
class Idle:
    """Sender to supervisor: these accounts are given back, their leases released."""

    accounts: tuple[AccountSlot, ...]


@dataclass(frozen=True, slots=True)
class Assign:
    """Supervisor to sender: serve these as well."""

    accounts: tuple[AccountSlot, ...]


@dataclass(frozen=True, slots=True)
class Wake:
    """Supervisor to sender: there is work for these; a hint that may be lost."""

    accounts: tuple[AccountSlot, ...]


@dataclass(frozen=True, slots=True)
class Reaped:
    """Supervisor to sender: these owners are dead, their leases may be taken at once."""

    owners: tuple[str, ...]


_BARE: dict[str, type[Ready | Beat]] = {"ready": Ready, "beat": Beat}
_WITH_ACCOUNTS: dict[str, type[Wanted | Idle | Assign | Wake]] = {
    "wanted": Wanted,
    "idle": Idle,
    "assign": Assign,
    "wake": Wake,
}

Message = Ready | Beat | Wanted | Idle | Assign | Wake | Reaped


def encode(message: Message) -> bytes:
    fields = {"type": type(message).__name__.lower(), **asdict(message)}
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """The message in a line; ValueError for anything else."""
    try:
        return _message(json.loads(line))
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"not a control message: {line[:80]!r}") from error


def _message(fields: Any) -> Message:  # Any: decoded JSON, this is its border
    name = fields["type"]
    if name == "reaped":
        return Reaped(tuple(str(owner) for owner in fields["owners"]))
    if name in _BARE:
        return _BARE[name]()
    return _WITH_ACCOUNTS[name](
        tuple((AccountPk(int(account)), int(slot)) for account, slot in fields["accounts"])
    )


class Channel:
    """The supervisor's end of a control channel; neither reading nor writing ever waits."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._said = bytearray()
        self._unsaid = bytearray()
        self.garbled = 0

    @property
    def pending(self) -> bool:
        return bool(self._unsaid)

    def send(self, message: Message) -> None:
        """Say it, or keep it until `flush` can; a hint is dropped when older words still wait."""
        if isinstance(message, Wake) and self._unsaid:
            return
        self._unsaid += encode(message)
        self.flush()

    def flush(self) -> None:
        try:
            while self._unsaid:
                del self._unsaid[: self.sock.send(self._unsaid)]
        except BlockingIOError:
            pass
        except OSError:
            self._unsaid.clear()

    def receive(self) -> tuple[list[Message], bool]:
        """All messages that have come, and whether more can come."""
        is_open = self._read()
        *lines, rest = self._said.split(b"\n")
        self._said = rest
        messages = []
        for line in lines:
            try:
                messages.append(decode(bytes(line)))
            except ValueError:
                self.garbled += 1
        return messages, is_open

    def _read(self) -> bool:
        try:
            while data := self.sock.recv(_CHUNK):
                self._said += data
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False
