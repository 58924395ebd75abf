"""Credentials at rest: AES-256-GCM under a key ring, each value bound to the row and column it belongs to.

Layout of a sealed value: version (1 byte), key id (8), nonce (12), ciphertext and tag.
"""

import base64
import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mailproxy.errors import MailproxyError

_VERSION = b"\x01"
_KEY_ID = slice(1, 9)
_NONCE = slice(9, 21)
_SHORTEST = 21 + 16
_CANARY = "mailproxy"
FOREIGN = "ENC:"


class VaultError(MailproxyError):
    """A sealed value cannot be opened: `key_missing` when its key is not in the ring, else `seal_broken`."""

    code = "seal_broken"
    status = 503


def key_id(key: bytes) -> str:
    """The name of a key, which tells nothing about it."""
    return hashlib.sha256(key).hexdigest()[:16]


class Vault:
    """Seals with the first key of the ring and opens with all of them."""

    __slots__ = ("_active", "_ciphers")

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != 32 for key in keys):
            raise ValueError("a vault needs keys of 32 bytes")
        self._active = key_id(keys[0])
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}

    def __repr__(self) -> str:
        return f"Vault({', '.join(self._ciphers)})"

    @property
    def active(self) -> str:
        """The id of the key that seals."""
        return self._active

    def seal(self, plaintext: str, bound_to: str) -> bytes:
        """Encrypt for one place, such as `account|17|password`; only the same `bound_to` opens it again."""
        nonce = os.urandom(12)
        ciphertext = self._ciphers[self._active].encrypt(nonce, plaintext.encode(), bound_to.encode())
        return _VERSION + bytes.fromhex(self._active) + nonce + ciphertext

    def open(self, sealed: bytes, bound_to: str) -> str:
        """Raises VaultError for a missing key, a changed value, or one that belongs elsewhere."""
        if len(sealed) < _SHORTEST or not sealed.startswith(_VERSION):
            raise VaultError(f"the secret of {bound_to} is not a sealed value")
        cipher = self._ciphers.get(sealed_by(sealed))
        if cipher is None:
            raise VaultError(
                f"the secret of {bound_to} needs key {sealed_by(sealed)}, which is not in the key ring",
                code="key_missing",
            )
        try:
            return cipher.decrypt(sealed[_NONCE], sealed[_NONCE.stop :], bound_to.encode()).decode()
        except InvalidTag:
            raise VaultError(f"the secret of {bound_to} was changed or belongs elsewhere") from None

    def reseal(self, sealed: bytes, bound_to: str) -> bytes:
        """The same secret under the active key; the very same bytes when that key sealed it already."""
        secret = self.open(sealed, bound_to)
        return sealed if sealed_by(sealed) == self._active else self.seal(secret, bound_to)

    def make_canary(self) -> bytes:
        """A value to store with the data: it tells at every start whether the ring still fits."""
        return self.seal(_CANARY, "canary")

    def check_canary(self, sealed: bytes) -> None:
        """Raises VaultError when these are not the keys the data was sealed with."""
        self.open(sealed, "canary")


def open_foreign(text: str, key: bytes) -> str:
    """Open a secret as genro-mail-proxy stores it: `ENC:` and the base64 of nonce, ciphertext and tag.

    Raises VaultError for another key or a changed text.
    """
    try:
        raw = base64.b64decode(text.removeprefix(FOREIGN), validate=True)
        return AESGCM(key).decrypt(raw[:12], raw[12:], None).decode()
    except (InvalidTag, ValueError):
        raise VaultError("it cannot be opened with this key") from None


def sealed_by(sealed: bytes) -> str:
    """The id of the key a value was sealed with."""
    return sealed[_KEY_ID].hex()
