"""The answers about the instance itself and what was commanded, as types."""

from typing import Any, Literal

from typing_extensions import NotRequired, TypedDict  # noqa: UP035 - pydantic reads these on 3.11

from mailproxy.api.schemas import Count, Done, MailboxHealth, Moment


class CommandInfo(TypedDict):
    """A command as it was entered in the log."""

    id: int
    command_ts: Moment
    endpoint: str
    tenant_id: NotRequired[str]
    actor: str
    request_id: str
    object: NotRequired[str]
    payload: dict[str, Any]
    response_status: int


class Commands(Done):
    commands: list[CommandInfo]
    total: Count
    next_cursor: NotRequired[str]


class SetAside(TypedDict):
    """A mail that could not be read; it lies in its mailbox."""

    number: int
    ts: Moment
    tenant_id: NotRequired[str]
    account_id: NotRequired[str]
    uidvalidity: int
    uid: int
    reason: str
    header: str


class Quarantine(Done):
    mails: list[SetAside]
    next_cursor: NotRequired[str]


class BounceInfo(TypedDict):
    """How bounces are fetched; the password is not shown."""

    enabled: bool
    imap_host: NotRequired[str]
    imap_port: int
    imap_user: NotRequired[str]
    imap_password_set: bool
    imap_folder: str
    imap_ssl: bool
    poll_interval: Count
    return_path: NotRequired[str]
    processed: str
    strict: bool


class Bounce(BounceInfo):
    ok: Literal[True]
    health: MailboxHealth


class InstanceInfo(TypedDict):
    """The instance's own settings, without secrets."""

    name: str
    bounce_enabled: bool
    bounce_imap_host: NotRequired[str]
    bounce_imap_port: int
    bounce_imap_user: NotRequired[str]
    bounce_imap_password_set: bool
    bounce_imap_folder: str
    bounce_imap_ssl: bool
    bounce_poll_interval: Count
    bounce_return_path: NotRequired[str]
    bounce_processed: str
    bounce_strict: bool
    created_at: Moment
    updated_at: Moment


class Reloaded(Done):
    error: None
