"""Our own header writer: nothing reaches the wire that was not encoded here and read again afterwards."""

import re
from collections.abc import Iterable, Sequence
from typing import ClassVar

from mailproxy.address import Mailbox
from mailproxy.encoded_words import MAX_WORD, encode, looks_encoded
from mailproxy.errors import MailproxyError

MAX_LINE = 998
FOLD_AT = 78
FOLD_ENCODED_AT = 76

HEADER_NAME = re.compile(r"[!-9;-~]{1,76}")
_PLAIN_VALUE = re.compile(r"[\t -~]*")
_WORDS = re.compile(r"[ \t]*[^ \t]+")
_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_FIELD_LINE = re.compile(rb"([!-9;-~]{1,76}):(?: .*)?", re.DOTALL)
_SMALLEST_ROOM = 30
_LONGEST_QUOTED = 64

Field = tuple[str, str]
"""A header's name and its folded text, name included, without the last CRLF."""


class RenderError(MailproxyError):
    """A message that cannot be written safely: it fails alone and nothing of it is sent."""

    code: ClassVar[str] = "header_injection"


def unstructured(name: str, value: str) -> Field:
    """A header of free text (RFC 5322 §2.2.1); white space around the value is not part of it."""
    value = value.strip(" \t")
    if _PLAIN_VALUE.fullmatch(value) and not looks_encoded(value):
        if len(name) + 2 + len(value) <= FOLD_AT:
            return name, f"{name}: {value}"
        lines = _folded(name, value)
        if max(map(len, lines)) <= MAX_LINE:
            return name, "\r\n".join(lines)
    room = FOLD_ENCODED_AT - len(name) - 2
    if room >= _SMALLEST_ROOM:
        return name, f"{name}: " + "\r\n ".join(encode(value, room))
    return name, f"{name}:\r\n " + "\r\n ".join(encode(value))


def _folded(name: str, value: str) -> list[str]:
    lines: list[str] = []
    line = f"{name}: "
    for number, word in enumerate(_WORDS.findall(value)):
        if number and len(line) + len(word) > FOLD_AT:
            lines.append(line)
            line = word
        else:
            line += word
    return [*lines, line]


def address_list(name: str, mailboxes: Sequence[Mailbox], *, smtputf8: bool = False) -> Field:
    """A header of mailboxes, folded between them; domains in A-labels unless SMTPUTF8 is used (RFC 6532)."""
    lines: list[str] = []
    line = f"{name}:"
    last = len(mailboxes) - 1
    for number, mailbox in enumerate(mailboxes):
        address = mailbox.addr_spec if smtputf8 else mailbox.ascii_addr_spec
        words = _phrase(mailbox.display_name, FOLD_ENCODED_AT - len(line) - 1) if mailbox.display_name else []
        words.append((f"<{address}>" if words else address) + ("," if number < last else ""))
        for word in words:
            if len(line) + 1 + len(word) > FOLD_ENCODED_AT and line != f"{name}:":
                lines.append(line)
                line = ""
            line += " " + word
    return name, "\r\n".join([*lines, line])


def _phrase(display_name: str, room: int) -> list[str]:
    """A display name as atoms, as one quoted string, or as encoded words where those cannot carry it."""
    if len(display_name) <= _LONGEST_QUOTED and display_name.isascii() and "=?" not in display_name:
        if _PHRASE.fullmatch(display_name):
            return [display_name]
        return [quoted(display_name)]
    return encode(display_name, room if room >= _SMALLEST_ROOM else MAX_WORD)


def quoted(text: str) -> str:
    """A quoted string (RFC 5322 §3.2.4) of printable ASCII."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def block(fields: Iterable[Field], *, smtputf8: bool = False) -> bytes:
    """The header block, each line ended by CRLF, re-scanned; raises RenderError."""
    names, texts = [], []
    for name, text in fields:
        names.append(name)
        texts.append(text)
    try:
        written = ("\r\n".join(texts) + "\r\n").encode("utf-8" if smtputf8 else "ascii")
    except UnicodeEncodeError:
        raise RenderError(
            "the header would hold characters that are not ASCII", code="smtputf8_required"
        ) from None
    rescan(written, names, smtputf8=smtputf8)
    return written


def rescan(written: bytes, names: Sequence[str], *, smtputf8: bool = False) -> None:
    """Read a header block as a receiver would and hold it to the names it should have, in order.

    Raises RenderError for any CR, LF or NUL that is not a line end or fold, a line over 998 octets, a fold
    that holds nothing, a malformed or unexpected name, or 8-bit data without SMTPUTF8.
    """
    ends = written.count(b"\r\n")
    if not written.endswith(b"\r\n") or written.count(b"\r") != ends or written.count(b"\n") != ends:
        raise RenderError("the header holds a line break that ends no line")
    if b"\0" in written or not (smtputf8 or written.isascii()):
        raise RenderError("the header holds NUL or characters that are not ASCII")
    found: list[str] = []
    for line in written[:-2].split(b"\r\n"):
        if len(line) > MAX_LINE:
            raise RenderError(f"a header line is longer than {MAX_LINE} octets")
        if line[:1] in (b" ", b"\t") and found and line.strip():
            continue
        match = _FIELD_LINE.fullmatch(line)
        if match is None:
            raise RenderError("a header line is neither a field nor its continuation")
        found.append(match[1].decode("ascii"))
    if found != list(names):
        raise RenderError("the header's fields are not the ones that were written")
