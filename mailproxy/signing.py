"""The secrets that sign a tenant's callbacks: one, or two while its receiver changes over to the new one."""

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field

from mailproxy.model import Instant, Seconds


@dataclass(frozen=True, slots=True)
class SigningSecret:
    """`until` is when it stops signing; None: not yet known."""

    secret: str = field(repr=False)
    until: Instant | None = None


Secrets = tuple[SigningSecret, ...]


def active(secrets: Sequence[SigningSecret], now: Instant) -> tuple[str, ...]:
    """Those that sign now, the newest first."""
    return tuple(one.secret for one in secrets if one.until is None or one.until > now)


def rotated(secrets: Sequence[SigningSecret], new: str, *, keep: Seconds, now: Instant) -> Secrets:
    """`new`, and the one it replaces for `keep` seconds more; older ones end at once."""
    former = next((one.secret for one in secrets if one.until is None and one.secret != new), None)
    if former is None or keep <= 0:
        return (SigningSecret(new),)
    return (SigningSecret(new), SigningSecret(former, now + keep))


def dumps(secrets: Sequence[SigningSecret]) -> str:
    return json.dumps([astuple(one) for one in secrets])


def loads(text: str) -> Secrets:
    return tuple(SigningSecret(secret, until) for secret, until in json.loads(text))
