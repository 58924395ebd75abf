"""API tokens: made, named and compared. Only hashes are stored: 256 random bits need no slow hash."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

from mailproxy.model import TenantPk

_KEY = re.compile(r"mp_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A tenant key at the only moment its token exists in clear."""

    token: str = field(repr=False)
    key_id: str
    hash: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a tenant key belongs to."""

    tenant_pk: TenantPk
    tenant_id: str
    key_id: str


def new_key() -> NewKey:
    """A tenant key `mp_<key id>_<43 characters>`."""
    key_id = secrets.token_hex(6)
    token = f"mp_{key_id}_{new_secret()}"
    return NewKey(token, key_id, hash_of(token))


def new_secret() -> str:
    """256 random bits as 43 URL-safe characters: an instance's token, a webhook's secret."""
    return secrets.token_urlsafe(32)


def hash_of(token: str | bytes) -> bytes:
    """SHA-256 of the whole token: how any key is looked up, also an imported one without a key id."""
    return hashlib.sha256(_octets(token)).digest()


def key_id_of(token: str) -> str | None:
    """The id inside one of our keys; None for anything else."""
    match = _KEY.fullmatch(token)
    return match[1] if match else None


def matches(token: str | bytes, expected_hash: bytes) -> bool:
    """Whether the token has this hash, in constant time."""
    return hmac.compare_digest(hash_of(token), expected_hash)


def _octets(token: str | bytes) -> bytes:
    return token if isinstance(token, bytes) else token.encode("utf-8", "surrogatepass")
