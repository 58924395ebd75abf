"""Encoded words (RFC 2047): UTF-8 text in ASCII headers, written and read."""

import binascii
import re
from collections.abc import Iterator

MAX_WORD = 75

_OVERHEAD = len("=?utf-8?q??=")
_Q_SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"
_Q_BYTE = [chr(byte) if byte in _Q_SAFE else "_" if byte == 0x20 else f"={byte:02X}" for byte in range(256)]
_WORD = re.compile(r"=\?([^?\s]{1,40})\?([bBqQ])\?([^?]*)\?=")
_BEGINNING = re.compile(r"=\?[^?]{0,75}\?[bBqQ]\?")
KNOWN_CHARSET = re.compile(
    r"utf-8|us-ascii|iso-8859-\d{1,2}|windows-125\d|koi8-[ru]|gb2312|gbk|gb18030|big5|shift_jis|euc-(?:jp|kr)"
    r"|iso-2022-jp",
    re.IGNORECASE,
)


def encode(text: str, room: int = MAX_WORD) -> list[str]:
    """`text` as encoded words of at most 75 characters, the first at most `room` (which is 24 or more).

    B or Q, whichever is shorter; no character is split between two words (RFC 2047 §5).
    """
    data = text.encode()
    unsafe = len(data.translate(None, _Q_SAFE + b" "))
    if len(data) + 2 * unsafe <= -(-len(data) // 3) * 4:
        return [f"=?utf-8?q?{chunk}?=" for chunk in _q_chunks(text, min(room, MAX_WORD) - _OVERHEAD)]
    return [
        f"=?utf-8?b?{binascii.b2a_base64(chunk, newline=False).decode()}?="
        for chunk in _b_chunks(text, min(room, MAX_WORD) - _OVERHEAD)
    ]


def _q_chunks(text: str, capacity: int) -> Iterator[str]:
    chunk: list[str] = []
    length = 0
    for char in text:
        piece = "".join([_Q_BYTE[byte] for byte in char.encode()])
        if length + len(piece) > capacity:
            yield "".join(chunk)
            chunk, length, capacity = [], 0, MAX_WORD - _OVERHEAD
        chunk.append(piece)
        length += len(piece)
    yield "".join(chunk)


def _b_chunks(text: str, capacity: int) -> Iterator[bytes]:
    chunk = bytearray()
    limit = capacity // 4 * 3
    for char in text:
        piece = char.encode()
        if len(chunk) + len(piece) > limit:
            yield bytes(chunk)
            chunk.clear()
            limit = (MAX_WORD - _OVERHEAD) // 4 * 3
        chunk += piece
    yield bytes(chunk)


def looks_encoded(text: str) -> bool:
    """Whether a lenient reader could take a part of `text` for an encoded word."""
    return "=?" in text and "?=" in text and _BEGINNING.search(text) is not None


def decoded_word(word: str) -> str | None:
    """The text of one encoded word, or None when `word` is not one in a known character set."""
    match = _WORD.fullmatch(word)
    data = _payload(match) if match else None
    return None if match is None or data is None else _text(match[1], data)


def hides_line_break(text: str) -> bool:
    """Whether an encoded word in `text` decodes to CR, LF or NUL."""
    return any(_breaks(match) for match in _WORD.finditer(text))


def _breaks(match: re.Match[str]) -> bool:
    data = _payload(match) or b""
    decoded = _text(match[1], data) or ""
    return any(byte in data for byte in b"\r\n\0") or any(char in decoded for char in "\r\n\0")


def _payload(match: re.Match[str]) -> bytes | None:
    encoded = match[3].encode("utf-8", "replace")
    if match[2] in "qQ":
        return binascii.a2b_qp(encoded, header=True)
    try:
        return binascii.a2b_base64(encoded + b"==")
    except binascii.Error:
        return None


def _text(charset: str, data: bytes) -> str | None:
    name = charset.partition("*")[0]
    if not KNOWN_CHARSET.fullmatch(name):
        return None
    try:
        return data.decode(name)
    except (UnicodeDecodeError, LookupError):
        return None
