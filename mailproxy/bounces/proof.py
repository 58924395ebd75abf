"""Proof that who reports on a message has seen it: a tag only we can make (RELIABILITY I4, C17)."""

import base64
import hashlib
import hmac
from collections.abc import Iterable

from mailproxy.errors import InvalidInput

HEADER = "X-Genro-Mail-Proof"
MAX_LOCAL = 64

_PURPOSE = b"mailproxy bounce proof\0"
_OCTETS = 10
_MARK = "+mp-"


def tag_of(key: bytes, message: str) -> str:
    """80 bits of HMAC-SHA256 over a message's public key, as 16 letters and digits without case."""
    digest = hmac.digest(key, _PURPOSE + message.encode("utf-8", "surrogatepass"), hashlib.sha256)
    return base64.b32encode(digest[:_OCTETS]).decode("ascii").lower()


def is_proven(proofs: Iterable[str], key: bytes, message: str) -> bool:
    """Whether one of a report's `proofs` is the message's tag; each is compared in constant time."""
    expected = tag_of(key, message).encode()
    return any(hmac.compare_digest(proof.lower().encode("utf-8", "replace"), expected) for proof in proofs)


def tagged_return_path(address: str, tag: str) -> str:
    """A return path that carries the tag (VERP): `bounces@example.com` becomes `bounces+mp-<tag>@example.com`.

    Raises InvalidInput where that leaves no valid local part.
    """
    local, _, domain = address.rpartition("@")
    tagged = f"{local}{_MARK}{tag}"
    if not local or local.startswith('"') or len(tagged.encode()) > MAX_LOCAL:
        raise InvalidInput(f"{address!r} has no room for a tag before the @", code="invalid_return_path")
    return f"{tagged}@{domain}"
