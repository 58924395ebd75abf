"""Mail as it was received, read within limits: any octets give parts, and nothing makes the reader raise."""

import binascii
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from mailproxy.encoded_words import KNOWN_CHARSET, decoded_word

MAX_OCTETS = 4 << 20
MAX_HEADER = 256 << 10
MAX_FIELDS = 1_000
MAX_VALUE = 16 << 10
MAX_PARTS = 1_000
MAX_DEPTH = 20
MAX_DELIMITERS = 5_000
MAX_CONTENT = 1 << 20
MAX_TEXT = 64 << 10

_NAME = re.compile(rb"[!-9;-~]{1,76}")
_FIELD = re.compile(rb"[!-9;-~]{1,76}[ \t]*:")
_FOLD = re.compile(rb"\n[ \t]+")
_MBOX_LINE = re.compile(rb"\s*(?:>?From [^\n]*\n)?")
_PARAMETER = re.compile(r';\s*([!#-+\-.0-9A-Z^-z|~]{1,60})\s*=\s*(?:"([^"]{0,500})"|([^\s;"]{0,500}))')
_MEDIA_TYPE = re.compile(r"\s*([A-Za-z0-9!#$&^_.+-]{1,60}/[A-Za-z0-9!#$&^_.+-]{1,60})")
_WORD = re.compile(r"=\?[^?\s]{1,60}\?[bBqQ]\?[^?]{0,2000}\?=")
_BETWEEN_WORDS = re.compile(r"(\?=)\s+(?==\?[^?\s]{1,60}\?[bBqQ]\?)")
_NOT_BASE64 = bytes(
    set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
)
_CONTROLS = {code: " " for code in (*range(32), *range(127, 160)) if code not in (9, 10)}


class Limit(StrEnum):
    """What a mail had more of than is read; the rest was left out."""

    OCTETS = "octets"
    HEADER = "header"
    PARTS = "parts"
    DEPTH = "depth"
    RECIPIENTS = "recipients"


Fields = tuple[tuple[str, str], ...]
"""Header fields in order: names in lower case, values unfolded, octets that are no UTF-8 read as Latin-1."""


@dataclass(frozen=True, slots=True)
class Part:
    """A leaf of the MIME tree, or the whole mail. `octets` is the body still encoded, lines ended by LF."""

    fields: Fields
    media_type: str
    parameters: dict[str, str]
    octets: bytes

    def get(self, name: str) -> str | None:
        return first(self.fields, name)

    def content(self) -> bytes:
        """The first MAX_CONTENT octets with their transfer encoding removed (RFC 2045 §6)."""
        encoding = (self.get("content-transfer-encoding") or "").strip().lower()
        octets = self.octets[:MAX_CONTENT]
        if encoding == "base64":
            kept = octets.translate(None, _NOT_BASE64)
            return _lf(binascii.a2b_base64(kept[: len(kept) // 4 * 4] + _tail(kept)))
        if encoding == "quoted-printable":
            return binascii.a2b_qp(octets)
        return octets

    def text(self) -> str:
        """The first MAX_TEXT octets as text, what its character set does not know replaced."""
        return decoded(self.content()[:MAX_TEXT], self.parameters.get("charset"))


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail's own header in `top`, its leaves in order, and the limits it went over."""

    top: Part
    leaves: tuple[Part, ...]
    exceeded: frozenset[Limit]


def read(raw: bytes) -> Mail:
    """The parts of a mail; `message/*` is a leaf, so a returned message is never walked into."""
    data = _lf(raw[:MAX_OCTETS])
    exceeded = {Limit.OCTETS} if len(raw) > MAX_OCTETS else set()
    mbox_line = _MBOX_LINE.match(data)
    top = _part(data[mbox_line.end() if mbox_line else 0 :], exceeded)
    leaves: list[Part] = []
    waiting = [(top, 0)]
    while waiting:
        part, depth = waiting.pop()
        inner = _inner(part, exceeded)
        if inner and depth < MAX_DEPTH:
            room = MAX_PARTS - len(leaves) - len(waiting)
            if len(inner) > room:
                exceeded.add(Limit.PARTS)
            waiting += [(_part(octets, exceeded), depth + 1) for octets in reversed(inner[:room])]
        else:
            if inner:
                exceeded.add(Limit.DEPTH)
            leaves.append(part)
    return Mail(top, tuple(leaves), frozenset(exceeded))


def fields_of(octets: bytes) -> Fields:
    """The header fields at the beginning of `octets`; lines that are none are passed over."""
    block = octets[:MAX_HEADER]
    found = []
    for line in _FOLD.sub(b" ", block).split(b"\n", MAX_FIELDS)[:MAX_FIELDS]:
        name, colon, value = line.partition(b":")
        name = name.rstrip(b" \t")
        if colon and _NAME.fullmatch(name):
            found.append((name.decode("ascii").lower(), _header_text(value)))
    return tuple(found)


def first(fields: Fields, name: str) -> str | None:
    return next((value for each, value in fields if each == name), None)


def every(fields: Fields, *names: str) -> Iterator[str]:
    return (value for each, value in fields if each in names)


def decoded(octets: bytes, charset: str | None) -> str:
    """Text in a character set, in UTF-8 or else Latin-1 when that is unknown or not named."""
    if charset and KNOWN_CHARSET.fullmatch(charset) and charset.lower() not in ("utf-8", "us-ascii"):
        with contextlib.suppress(LookupError):
            return octets.decode(charset, "replace").translate(_CONTROLS)
    try:
        return octets.decode("utf-8").translate(_CONTROLS)
    except UnicodeDecodeError as problem:
        is_cut = problem.start > len(octets) - 4
        text = octets.decode("utf-8", "replace") if charset or is_cut else octets.decode("latin-1")
        return text.translate(_CONTROLS)


def unencoded(value: str) -> str:
    """A header value with its encoded words (RFC 2047) in clear; broken ones stay as they are."""
    if "=?" not in value:
        return value
    joined = _BETWEEN_WORDS.sub(r"\1", value)
    return _WORD.sub(lambda word: decoded_word(word[0]) or word[0], joined).translate(_CONTROLS)


def _lf(octets: bytes) -> bytes:
    return octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _tail(kept: bytes) -> bytes:
    rest = kept[len(kept) // 4 * 4 :]
    return rest + b"=" * (4 - len(rest)) if len(rest) > 1 else b""


def _header_text(value: bytes) -> str:
    return decoded(value[:MAX_VALUE].strip(), None)


def _part(octets: bytes, exceeded: set[Limit], default: str = "text/plain") -> Part:
    if octets.startswith(b"\n"):
        header, body = b"", octets[1:]
    elif _FIELD.match(octets):
        header, _, body = octets.partition(b"\n\n")
    else:
        header, body = b"", octets
    if len(header) > MAX_HEADER or header.count(b"\n") > MAX_FIELDS:
        exceeded.add(Limit.HEADER)
    fields = fields_of(header)
    declared = first(fields, "content-type") or default
    media_type = _MEDIA_TYPE.match(declared)
    parameters = _parameters(declared)
    return Part(fields, media_type[1].lower() if media_type else default, parameters, body)


def _parameters(declared: str) -> dict[str, str]:
    """Parameters of a Content-Type, continued and marked ones (RFC 2231) put together undecoded."""
    found: dict[str, str] = {}
    for name, quoted, token in _PARAMETER.findall(declared[:4000]):
        base, star, _ = name.lower().partition("*")
        value = quoted or token
        if star and name.endswith("*") and "'" in value and base not in found:
            value = value.rpartition("'")[2]
        found[base] = found[base] + value if star and base in found else found.get(base, value)
    return found


def _inner(part: Part, exceeded: set[Limit]) -> list[bytes]:
    boundary = part.parameters.get("boundary", "").rstrip()
    if not part.media_type.startswith("multipart/") or not boundary:
        return []
    delimiter = b"\n--" + boundary.encode("utf-8", "replace")
    data = b"\n" + part.octets
    inner: list[bytes] = []
    start: int | None = None
    at = -1
    for _ in range(MAX_DELIMITERS):
        at = data.find(delimiter, at + 1)
        if at < 0:
            break
        end_of_line = data.find(b"\n", at + 1)
        end_of_line = len(data) if end_of_line < 0 else end_of_line
        rest = data[at + len(delimiter) : min(end_of_line, at + len(delimiter) + 80)].strip()
        if rest in (b"", b"--"):
            if start is not None:
                inner.append(data[start:at])
            start = None if rest else end_of_line + 1
            if rest:
                break
    else:
        exceeded.add(Limit.PARTS)
    if start is not None:
        inner.append(data[start:])
    return inner
