"""A message as a sequence of pieces: literal lines, and base64 that is encoded while it is written."""

import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

BASE64_LINE = 76
_LINE_OCTETS = BASE64_LINE // 4 * 3
CHUNK = 2048 * _LINE_OCTETS


class Stored(Protocol):
    """Content that lies somewhere once and can be read from its beginning any number of times."""

    @property
    def size(self) -> int: ...

    def chunks(self, length: int) -> Iterator[bytes]:
        """All of it in order, `length` octets at a time; raises OSError when it cannot be read to its end."""


@dataclass(frozen=True, slots=True)
class InMemory:
    octets: bytes

    @property
    def size(self) -> int:
        return len(self.octets)

    def chunks(self, length: int) -> Iterator[bytes]:
        for start in range(0, len(self.octets), length):
            yield self.octets[start : start + length]


@dataclass(frozen=True, slots=True)
class Base64:
    """The base64 lines of some content."""

    of: Stored

    @property
    def size(self) -> int:
        encoded = -(-self.of.size // 3) * 4
        return encoded + 2 * max(-(-encoded // BASE64_LINE), 1)

    def __iter__(self) -> Iterator[bytes]:
        if not self.of.size:
            yield b"\r\n"
        for chunk in self.of.chunks(CHUNK):
            yield base64_lines(chunk)


Piece = bytes | Base64
"""Whole lines, each ended by CRLF."""


@dataclass(frozen=True, slots=True)
class Written:
    """A whole message, not yet dot-stuffed, whose base64 is made whenever it is read."""

    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        return sum(len(piece) if isinstance(piece, bytes) else piece.size for piece in self.pieces)

    def isascii(self) -> bool:
        return all(not isinstance(piece, bytes) or piece.isascii() for piece in self.pieces)


Data = bytes | Written


def written(pieces: list[Piece]) -> Data:
    """The message in as few pieces as possible: bytes when all of it is at hand."""
    joined: list[Piece] = []
    literal: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            literal.append(piece)
        else:
            joined += [b"".join(literal), piece]
            literal = []
    last = b"".join(literal)
    return Written((*joined, last)) if joined else last


def size_of(data: Data) -> int:
    return len(data) if isinstance(data, bytes) else data.size


def octets(data: Data) -> bytes:
    """All of a message at once."""
    if isinstance(data, bytes):
        return data
    return b"".join(
        chunk for piece in data.pieces for chunk in ([piece] if isinstance(piece, bytes) else piece)
    )


def base64_lines(data: bytes) -> bytes:
    """Base64 in lines of 76 characters, each ended by CRLF (RFC 2045 §6.8); no data is one empty line."""
    encoded = binascii.b2a_base64(data, newline=False)
    if len(encoded) <= BASE64_LINE:
        return encoded + b"\r\n"
    lines = [encoded[start : start + BASE64_LINE] for start in range(0, len(encoded), BASE64_LINE)]
    lines.append(b"")
    return b"\r\n".join(lines)
