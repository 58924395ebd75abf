"""Our own download links: who made them is proved by a MAC over everything they say, and they end by themselves.

A token is `1.<tenant>.<object>.<end>.<key id>.<mac>`: the end in Unix seconds, the MAC 256 bits of HMAC-SHA256 (RFC
2104) in URL-safe base64. The file's name stands behind it in the path and is part of what is signed.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass
from urllib.parse import quote

from mailproxy.model import Instant, TenantPk

VERSION = "1"
_TOKEN = re.compile(r"1\.([0-9]{1,19})\.([0-9a-f]{32})\.([0-9]{1,12})\.([0-9a-f]{8})\.([A-Za-z0-9_-]{43})")
_PLAIN = re.compile(r"[A-Za-z0-9!#$&+.^_`|~-]")


@dataclass(frozen=True, slots=True)
class Pass:
    """What a genuine token opens, until `ends_at`."""

    tenant: TenantPk
    object: str
    ends_at: Instant


def new_object() -> str:
    """The name of a file in its storage, which tells nothing and cannot be guessed: 128 random bits."""
    return secrets.token_hex(16)


def new_key() -> bytes:
    return secrets.token_bytes(32)


def key_id(key: bytes) -> str:
    return hashlib.sha256(b"link key\0" + key).hexdigest()[:8]


def token(key: bytes, granted: Pass, filename: str) -> str:
    ends_at = int(granted.ends_at)
    mac = _mac(key, granted.tenant, granted.object, ends_at, filename)
    return f"{VERSION}.{granted.tenant}.{granted.object}.{ends_at}.{key_id(key)}.{mac}"


def opened(key: bytes, text: str, filename: str) -> Pass | None:
    """What the token opens, whether or not it has ended; None unless it was made with this key for this file."""
    found = _TOKEN.fullmatch(text)
    if found is None:
        return None
    tenant, name, ends_at = TenantPk(int(found[1])), found[2], int(found[3])
    genuine = _mac(key, tenant, name, ends_at, filename)
    if not (hmac.compare_digest(genuine, found[5]) & hmac.compare_digest(key_id(key), found[4])):
        return None
    return Pass(tenant, name, float(ends_at))


def _mac(key: bytes, tenant: TenantPk, name: str, ends_at: int, filename: str) -> str:
    said = json.dumps([VERSION, tenant, name, filename, ends_at, key_id(key)])
    digest = hmac.new(key, said.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def url(public_base_url: str, key: bytes, granted: Pass, filename: str) -> str:
    return (
        f"{public_base_url.rstrip('/')}/download/{token(key, granted, filename)}/{quote(filename, safe='')}"
    )


def disposition(filename: str) -> str:
    """`Content-Disposition` that has the file saved under its name (RFC 6266, RFC 8187)."""
    plain = "".join(char if " " <= char <= "~" and char not in '"\\%;/' else "_" for char in filename)
    if plain == filename:
        return f'attachment; filename="{plain}"'
    octets = filename.encode("utf-8", "replace")
    encoded = "".join(chr(octet) if _PLAIN.fullmatch(chr(octet)) else f"%{octet:02X}" for octet in octets)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
