"""Signatures of callbacks by the Standard Webhooks scheme, version `v1`: HMAC-SHA256 over `id.timestamp.body`.

Source: the Standard Webhooks specification. A secret is `whsec_` and the base64 of 24 to 64 random bytes.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets as chance
from collections.abc import Mapping, Sequence

from mailproxy.errors import InvalidInput, MailproxyError
from mailproxy.model import Instant, Seconds

ID = "webhook-id"
TIMESTAMP = "webhook-timestamp"
SIGNATURE = "webhook-signature"
TOLERANCE: Seconds = 300.0
PREFIX = "whsec_"

_KEY_BYTES = range(24, 65)
_ID = re.compile(r"[!-\-/-~]+")  # a full stop in it would let the id grow at the cost of the body
_SECONDS = re.compile(r"[0-9]{1,15}")


class SignatureRefused(MailproxyError):
    """The callback does not prove that it comes from a holder of the secret, or it is too old or too new."""

    code = "signature_refused"
    status = 401


def new_secret() -> str:
    """A fresh secret of 256 random bits."""
    return PREFIX + base64.b64encode(chance.token_bytes(32)).decode("ascii")


def key_of(secret: str) -> bytes:
    """The key inside a secret, with or without its prefix and padding; raises InvalidInput."""
    text = secret.removeprefix(PREFIX).rstrip("=")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) not in _KEY_BYTES:
        raise InvalidInput(
            f"A webhook secret is {PREFIX} followed by the base64 of 24 to 64 bytes", code="invalid_secret"
        )
    return key


def sign(body: bytes, *, id: str, at: Instant, secrets: Sequence[str]) -> dict[str, str]:
    """The headers of a callback, one signature for each secret; `id` stays the same when it is sent again."""
    if not _ID.fullmatch(id):
        raise ValueError(f"a webhook id is visible ASCII without full stops, not {id!r}")
    if not secrets:
        raise ValueError("nothing is signed without a secret")
    timestamp = str(int(at))
    signatures = " ".join(f"v1,{_signature(key_of(secret), id, timestamp, body)}" for secret in secrets)
    return {ID: id, TIMESTAMP: timestamp, SIGNATURE: signatures}


def verify(
    body: bytes,
    headers: Mapping[str, str],
    secrets: str | Sequence[str],
    *,
    now: Instant,
    tolerance: Seconds = TOLERANCE,
) -> str:
    """The callback's id when one of the active `secrets` signed exactly this body within `tolerance` of `now`.

    `body` is what came over the wire, undecoded; header names match in any case. Raises SignatureRefused.
    A callback may come twice with the same id: forget the second.
    """
    given = {name.lower(): value for name, value in headers.items()}
    id, timestamp, signatures = (given.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE))
    if not (id and timestamp and signatures):
        raise SignatureRefused(f"{ID}, {TIMESTAMP} or {SIGNATURE} is missing")
    if not (_ID.fullmatch(id) and _SECONDS.fullmatch(timestamp)):
        raise SignatureRefused(f"{ID} or {TIMESTAMP} is malformed")
    if abs(now - int(timestamp)) > tolerance:
        raise SignatureRefused(f"{TIMESTAMP} is more than {tolerance:g} s from now")
    told = [one[3:].encode("utf-8", "replace") for one in signatures.split() if one.startswith("v1,")]
    for secret in [secrets] if isinstance(secrets, str) else secrets:
        expected = _signature(key_of(secret), id, timestamp, body).encode()
        if any(hmac.compare_digest(expected, one) for one in told):
            return id
    raise SignatureRefused("no signature is by an active secret")


def _signature(key: bytes, id: str, timestamp: str, body: bytes) -> str:
    signed = hmac.digest(
        key, b".".join((id.encode("utf-8"), timestamp.encode("ascii"), body)), hashlib.sha256
    )
    return base64.b64encode(signed).decode("ascii")
