"""What this process learnt after a dot, written before anybody relies on the database having it.

One line an outcome: `crc32 json`, the CRC in hexadecimal, the JSON a list, in `<state_dir>/journal/<epoch>.log`.
It survives the death of its writer, not of the machine: no fsync (RELIABILITY §1.3).
"""

import errno
import fcntl
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, assert_never

from mailproxy.model import Epoch, MessageId
from mailproxy.outcome import (
    AccountTrouble,
    Deferred,
    Outcome,
    Refusal,
    Refused,
    Reply,
    Sent,
    Stage,
    Trouble,
    Unknown,
    Withheld,
)

MAX_TEXT: Final = 512
_CLOSED: Final = -1
_to_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Record:
    message: MessageId
    revision: int
    attempt: int
    claim: int
    outcome: Outcome


class Journal:
    """The journal of one epoch, written by one process that holds its lock."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.size = 0
        self._fd = fd
        self._torn = False

    @classmethod
    def open(cls, directory: Path, epoch: Epoch) -> Self:
        """Start `<epoch>.log`; OSError when it cannot be written, FileExistsError if that epoch has one already."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / f"{epoch}.log"
        # Locked before it has its name: an unlocked journal is an orphan to everybody else.
        draft = directory / f".{epoch}.{os.getpid()}"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(fd, b"\n")  # raises when not even this fits
            path.hardlink_to(draft)
        except OSError:
            os.close(fd)
            raise
        finally:
            draft.unlink()
        return cls(path, fd)

    def record(self, record: Record) -> None:
        """Append one outcome. After an OSError no further dot may be sent: its outcome could not be kept."""
        line = _encode(record)
        # A line cut short by a full disk must not swallow the one after it.
        written = os.write(self._fd, b"\n" + line if self._torn else line)
        self._torn = written != len(line) + self._torn
        self.size += written
        if self._torn:
            raise OSError(errno.ENOSPC, "the journal takes no more", str(self.path))

    def truncate(self) -> None:
        """Forget everything; only when the database has every outcome recorded so far."""
        os.ftruncate(self._fd, 0)
        self.size = 0
        self._torn = False

    def close(self, *, remove: bool) -> None:
        """Let go of the lock; `remove` the file when the database has all of it. Once closed it stays so."""
        if self._fd == _CLOSED:
            return
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)
        # The number goes to the next file this process opens: a late outcome must not be written there.
        self._fd = _CLOSED


def read(path: Path) -> list[Record]:
    """The intact records, oldest first, also while the writer lives; a damaged line counts as not written."""
    with suppress(FileNotFoundError):
        return [record for line in path.read_bytes().split(b"\n") if (record := _decode(line))]
    return []


def others(directory: Path, epoch: Epoch) -> Iterator[tuple[Epoch, Path]]:
    """All journals but that of `epoch`, whether or not their writers live."""
    return ((found, path) for found, path in _journals(directory) if found != epoch)


def orphans(directory: Path) -> Iterator[tuple[Epoch, Path]]:
    """The journals whose writer is gone, by epoch."""
    return ((epoch, path) for epoch, path in _journals(directory) if not _is_locked(path))


def _journals(directory: Path) -> list[tuple[Epoch, Path]]:
    return sorted((Epoch(int(p.stem)), p) for p in directory.glob("*.log") if p.stem.isdecimal())


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return True
    return False


def _encode(record: Record) -> bytes:
    fields = [record.message, record.revision, record.attempt, record.claim, *_from_outcome(record.outcome)]
    text = _to_json(fields).encode("utf-8", "replace")
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _decode(line: bytes) -> Record | None:
    crc, _, text = line.partition(b" ")
    if crc != b"%08x" % zlib.crc32(text):
        return None
    message, revision, attempt, claim, *fields = json.loads(text)
    return Record(MessageId(message), revision, attempt, claim, _to_outcome(fields))


def _from_outcome(outcome: Outcome) -> list[Any]:
    match outcome:
        case Sent(reply, refused, accepted):
            return ["sent", _from_reply(reply), _from_refusals(refused), accepted]
        case Deferred(stage, cause, reply, refused):
            return ["deferred", stage, _clip(cause), _from_reply(reply), _from_refusals(refused)]
        case Refused(stage, cause, reply, refused):
            return ["refused", stage, _clip(cause), _from_reply(reply), _from_refusals(refused)]
        case Unknown(cause):
            return ["unknown", _clip(cause)]
        case AccountTrouble(trouble, cause, reply, definite, retry_after):
            return ["trouble", trouble, _clip(cause), _from_reply(reply), definite, retry_after]
        case Withheld(cause):
            return ["withheld", _clip(cause)]
        case _:
            assert_never(outcome)


def _to_outcome(fields: list[Any]) -> Outcome:
    match fields:
        case ["sent", [code, text, enhanced], refused, accepted]:
            who = tuple((index, address) for index, address in accepted)
            return Sent(Reply(code, text, enhanced), _to_refusals(refused), who)
        case ["deferred", stage, cause, reply, refused]:
            return Deferred(Stage(stage), cause, _to_reply(reply), _to_refusals(refused))
        case ["refused", stage, cause, reply, refused]:
            return Refused(Stage(stage), cause, _to_reply(reply), _to_refusals(refused))
        case ["unknown", cause]:
            return Unknown(cause)
        case ["trouble", trouble, cause, reply, definite, retry_after]:
            return AccountTrouble(Trouble(trouble), cause, _to_reply(reply), definite, retry_after)
        case ["withheld", cause]:
            return Withheld(cause)
        case _:
            raise ValueError(f"no outcome: {fields!r}")


def _from_reply(reply: Reply | None) -> list[Any] | None:
    return None if reply is None else [reply.code, _clip(reply.text), reply.enhanced]


def _to_reply(fields: list[Any] | None) -> Reply | None:
    return None if fields is None else Reply(*fields)


def _from_refusals(refused: tuple[Refusal, ...]) -> list[Any]:
    return [[refusal.index, refusal.address, _from_reply(refusal.reply)] for refusal in refused]


def _to_refusals(fields: list[Any]) -> tuple[Refusal, ...]:
    return tuple(Refusal(index, address, Reply(*reply)) for index, address, reply in fields)


def _clip(text: str) -> str:
    return text.encode("utf-8", "replace")[:MAX_TEXT].decode("utf-8", "ignore")
