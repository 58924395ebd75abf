"""What the API answers about the instance itself and what was commanded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mailproxy.client.reading import raw as _raw


@dataclass(frozen=True, slots=True)
class Instance:
    """The instance's own settings; those of its bounce mailbox are in `raw`, and in `instance.bounce()`."""

    name: str
    created_at: float | None = None
    updated_at: float | None = None
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class Bounce:
    """How bounces are fetched, without the password."""

    enabled: bool
    imap_host: str | None = None
    imap_port: int | None = None
    imap_user: str | None = None
    imap_password_set: bool = False
    imap_folder: str = "INBOX"
    imap_ssl: bool = True
    poll_interval: int = 60
    return_path: str | None = None
    processed: str = "delete"
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class SetAside:
    """A mail that could not be read, in the mailbox of an account or, without one, of the instance."""

    number: int
    ts: float
    uidvalidity: int
    uid: int
    reason: str
    header: str
    tenant_id: str | None = None
    account_id: str | None = None
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, slots=True)
class Command:
    """Something that was commanded over the API: by whom, about what, and the status it ended with."""

    id: int
    command_ts: float
    endpoint: str
    actor: str
    response_status: int
    tenant_id: str | None = None
    object: str | None = None
    request_id: str | None = None
    payload: Mapping[str, Any] = field(default_factory=dict, repr=False)
    raw: Mapping[str, Any] = _raw()
