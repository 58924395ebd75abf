"""Proof that who reports on a message has seen it: a tag only we can make (RELIABILITY I4, C17)."""

import hashlib
import hmac
from collections.abc import Iterable, Iterator

from mailproxy.errors import InvalidInput

HEADER = "X-Genro-Mail-Proof"
MAX_LOCAL = 64

_PURPOSE = b"mailproxy bounce proof\0"
_OCTETS = 10
_TAG = 16
_MARK = "+mp-"
_DIGITS = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [first + second for first in _DIGITS for second in _DIGITS]
_MOST_DIGITS = 13


def tag_of(key: bytes, message: str) -> str:
    """80 bits of HMAC-SHA256 over a message's public key, as 16 letters and digits without case."""
    digest = hmac.digest(key, _PURPOSE + message.encode("utf-8", "surrogatepass"), hashlib.sha256)
    bits = int.from_bytes(digest[:_OCTETS])
    return "".join([_PAIRS[bits >> shift & 1023] for shift in range(70, -1, -10)])


def token_of(key: bytes, message: str, number: int) -> str:
    """What a message carries: its tag, and behind it the number it is found by, in the same 32 digits."""
    digits = ""
    while number or not digits:
        number, digit = divmod(number, 32)
        digits = _DIGITS[digit] + digits
    return tag_of(key, message) + digits


def numbers_in(proofs: Iterable[str]) -> Iterator[int]:
    """The numbers behind the tags; whether those are right is another question."""
    for proof in proofs:
        digits = proof.lower()[_TAG:]
        if 0 < len(digits) <= _MOST_DIGITS and not digits.strip(_DIGITS):
            number = 0
            for digit in digits:
                number = number * 32 + _DIGITS.index(digit)
            yield number


def is_proven(proofs: Iterable[str], key: bytes, message: str) -> bool:
    """Whether one of a report's `proofs` begins with the message's tag; each is compared in constant time."""
    expected = tag_of(key, message).encode()
    tags = (proof.lower()[:_TAG].encode("utf-8", "replace") for proof in proofs)
    return any(hmac.compare_digest(tag, expected) for tag in tags)


def tagged_return_path(address: str, token: str) -> str:
    """A return path that carries a token (VERP): `bounces@example.com` becomes `bounces+mp-<token>@example.com`.

    Raises InvalidInput where that leaves no valid local part.
    """
    local, _, domain = address.rpartition("@")
    tagged = f"{local}{_MARK}{token}"
    if not local or local.startswith('"') or len(tagged.encode()) > MAX_LOCAL:
        raise InvalidInput(f"{address!r} has no room for a token before the @", code="invalid_return_path")
    return f"{tagged}@{domain}"
