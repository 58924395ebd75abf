"""Secrets taken out of what others say: a server may quote the password that it refuses."""

import base64
from collections.abc import Iterable

HIDDEN = "***"
SHORTEST = 4


def without(text: str, secrets: Iterable[str | None]) -> str:
    """The text with each of the secrets hidden; what is shorter than four characters is no secret."""
    for secret in sorted((one for one in secrets if one and len(one) >= SHORTEST), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def as_sent(user: str | None, password: str | None) -> tuple[str, ...]:
    """A login's secret in every form in which AUTH PLAIN and LOGIN send it (RFC 4616, base64)."""
    if not password:
        return ()
    plain = (password, f"\0{user or ''}\0{password}")
    return (password, *(base64.b64encode(one.encode("utf-8", "replace")).decode() for one in plain))
