"""Pure: bytes from a server -> replies (RFC 5321 §4.2). Strict: a misread reply loses or doubles mail."""

import re
from enum import StrEnum
from functools import lru_cache

from mailproxy.outcome import Reply

MAX_LINE = 8 * 1024
MAX_REPLY = 32 * 1024
MAX_TEXT = 512

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?: |$)")


class Break(StrEnum):
    """Why a connection can no longer be used."""

    CLOSED = "connection closed by the server"
    TIMED_OUT = "no answer in time"
    GARBLED = "the reply is not SMTP"
    UNSOLICITED = "a reply came without a command"
    ABANDONED = "connection closed by us"


def parse_reply(buffer: bytearray) -> tuple[Reply, int] | Break | None:
    """The first reply of `buffer` and its length in bytes, None while it is incomplete."""
    start = 0
    code = b""
    lines: list[bytes] = []
    while (end := buffer.find(b"\n", start)) >= 0:
        line = bytes(buffer[start:end]).removesuffix(b"\r")
        start = end + 1
        if len(line) > MAX_LINE or start > MAX_REPLY:
            return Break.GARBLED
        if not line[:3].isdigit() or line[3:4] not in (b" ", b"-", b"") or len(line) < 3:
            return Break.GARBLED
        if code and line[:3] != code:
            return Break.GARBLED
        code = line[:3]
        lines.append(line[4:])
        if line[3:4] != b"-":
            return _reply(code, b" ".join(lines)), start
    too_long = len(buffer) - start > MAX_LINE or len(buffer) > MAX_REPLY
    return Break.GARBLED if too_long else None


def make_reply(code: int, text: str) -> Reply:
    """A reply safe to store and show: control characters replaced, at most 512 characters."""
    printable = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text[:MAX_TEXT].strip())
    enhanced = _ENHANCED.match(printable)
    return Reply(code, printable, enhanced[1] if enhanced else None)


@lru_cache(maxsize=512)
def _reply(code: bytes, text: bytes) -> Reply:
    return make_reply(int(code), text.decode("utf-8", "replace"))
