"""Submissions that happen once: the answer to a call under a key is kept with what the call queued."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from mailproxy.model import Seconds

T = TypeVar("T")

KEPT_FOR: Seconds = 86400.0
ADMIN = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """What a call was answered, and the SHA-256 of what it sent."""

    fingerprint: bytes
    status: int
    answer: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ticket:
    """Who calls (a tenant's pk, or ADMIN), under which key, and the SHA-256 of what is sent."""

    scope: int
    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Once(Generic[T]):
    """A ticket, and the answer to a result: a pure function, called in the transaction that keeps what it says."""

    ticket: Ticket
    answer: Callable[[T], Kept]
