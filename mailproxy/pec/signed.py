"""A signed mail (S/MIME, RFC 8551 §3.5) taken apart: what was signed, octet for octet, and the signature."""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from mailproxy.received import Part, read

_HEADER = 64 << 10
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")


@dataclass(frozen=True, slots=True)
class Signed:
    """`signature` is CMS in DER; `content` None: it lies within."""

    signature: bytes = field(repr=False)
    content: bytes | None = field(repr=False)


def signed_parts(raw: bytes) -> Signed | None:
    """None for a mail that is not signed as a whole."""
    top = read(raw[:_HEADER]).top
    if top.media_type == "multipart/signed":
        return _detached(raw, top.parameters.get("boundary", "").rstrip())
    if top.media_type in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
        if top.parameters.get("smime-type", "signed-data").lower() != "signed-data":
            return None
        return _signed(_body(_lines(raw)), None)
    return None


def _detached(raw: bytes, boundary: str) -> Signed | None:
    if not boundary:
        return None
    parts = list(_parts(b"\r\n" + _body(_lines(raw)), b"\r\n--" + boundary.encode("utf-8", "replace")))
    if len(parts) != 2:
        return None
    content, attached = parts
    signature = _octets_of(read(attached[:_HEADER]).top, attached)
    return None if signature is None else _signed(signature, content)


def _parts(body: bytes, delimiter: bytes) -> Iterator[bytes]:
    """The parts between lines that are the delimiter and nothing else (RFC 2046 §5.1.1)."""
    begin, at = None, body.find(delimiter)
    while at >= 0:
        end = body.find(b"\r\n", at + len(delimiter))
        end = len(body) if end < 0 else end
        rest = body[at + len(delimiter) : end].strip()
        if rest in (b"", b"--"):
            if begin is not None:
                yield body[begin:at]
            if rest:
                return
            begin = end + 2
        at = body.find(delimiter, at + 1)


def _octets_of(part: Part, attached: bytes) -> bytes | None:
    if part.media_type not in ("application/pkcs7-signature", "application/x-pkcs7-signature"):
        return None
    return _body(attached)


def _signed(encoded: bytes, content: bytes | None) -> Signed | None:
    kept = _NOT_BASE64.sub(b"", encoded)
    try:
        return Signed(base64.b64decode(kept + b"=" * (-len(kept) % 4)), content)
    except binascii.Error:
        return None


def _lines(raw: bytes) -> bytes:
    """With the line ends that were signed, whatever they became on the way."""
    return raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _body(part: bytes) -> bytes:
    return part[2:] if part.startswith(b"\r\n") else part.partition(b"\r\n\r\n")[2]
