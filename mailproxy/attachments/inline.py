"""Pure: base64 that came with a message, strict, and piece by piece when it is long."""

import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mailproxy.attachments.modes import BASE64_PREFIX

# Longer text goes to the store decoded; what is shorter comes with the claim.
LONGEST = 88 * 1024
_AT_ONCE = 1 << 20
_SPACES = re.compile(r"[ \t\r\n]+")


@dataclass(frozen=True, slots=True)
class Inline:
    """Decoded content; the hashes are hexadecimal."""

    pieces: tuple[bytes, ...]
    sha256: str
    md5: str

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))


def clean(text: str) -> str:
    """Without prefix and white space, padding completed."""
    bare = _SPACES.sub("", text.removeprefix(BASE64_PREFIX)).rstrip("=")
    return bare + "=" * (-len(bare) % 4)


def read(text: str) -> Inline:
    """What the text says (RFC 4648 §4); raises ValueError when it is no base64."""
    pieces = tuple(_pieces(text))
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        sha256.update(piece)
        md5.update(piece)
    return Inline(pieces, sha256.hexdigest(), md5.hexdigest())


def _pieces(text: str) -> Iterator[bytes]:
    """Never a second copy of a long text."""
    start = len(BASE64_PREFIX) if text.startswith(BASE64_PREFIX) else 0
    end = len(text)
    while end > start and text[end - 1] in "= \t\r\n":
        end -= 1
    rest = ""
    for at in range(start, end, _AT_ONCE):
        found = rest + _SPACES.sub("", text[at : min(at + _AT_ONCE, end)])
        whole = len(found) - len(found) % 4
        rest = found[whole:]
        if "=" in found:
            raise ValueError("there is padding before the end")
        if whole:
            yield binascii.a2b_base64(found[:whole], strict_mode=True)
    if rest:
        yield binascii.a2b_base64(rest + "=" * (-len(rest) % 4), strict_mode=True)
