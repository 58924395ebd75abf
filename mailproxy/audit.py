"""Who commanded what: everything that changes something over the API, without secrets and content."""

from dataclasses import dataclass

from mailproxy.model import Instant


@dataclass(frozen=True, slots=True)
class Command:
    """`actor` is `admin`, `anonymous` or a key's id, `object` what it was done to, `payload` JSON text."""

    endpoint: str
    actor: str
    request_id: str
    tenant_id: str | None = None
    object: str | None = None
    payload: str = "{}"
    status: int = 200


@dataclass(slots=True)
class Pending:
    """A command under way; `entry` is its number in the log once a write of its own has entered it, as done."""

    command: Command
    entry: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    id: int
    at: Instant
    command: Command


@dataclass(frozen=True, slots=True)
class CommandFilter:
    """`endpoint` is a part of its name; `until` is past the last moment."""

    tenant_id: str | None = None
    since: Instant | None = None
    until: Instant | None = None
    endpoint: str | None = None
