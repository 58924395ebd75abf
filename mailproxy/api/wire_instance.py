"""Requests about the instance itself and what was commanded, as they arrive."""

from typing import Annotated

from pydantic import AfterValidator, Field

from mailproxy import address
from mailproxy.api.wire import Form, Host, Line, Moment, Secret
from mailproxy.errors import InvalidInput


def _mailbox(value: str) -> str:
    try:
        named = value and address.parse(value).display_name
    except InvalidInput as error:
        raise ValueError(error.detail) from None
    if named:
        raise ValueError("must be an address without a name")
    return value


Port = Annotated[int, Field(ge=1, le=65535)]
Folder = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]
Interval = Annotated[int, Field(ge=1, le=86400)]
ReturnPath = Annotated[str, Field(max_length=320), AfterValidator(_mailbox)]
Processed = Annotated[str, Field(pattern=r"^(delete|seen|move:[^\x00-\x1f\x7f]{1,255})$")]


class CommandsFilter(Form):
    tenant_id: str | None = None
    since: Moment | None = None
    until: Moment | None = None
    endpoint: Annotated[str, Field(max_length=200)] | None = None
    since_ts: Moment | None = None
    until_ts: Moment | None = None
    endpoint_filter: Annotated[str, Field(max_length=200)] | None = None


class CommandsQuery(CommandsFilter):
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    cursor: str | None = None


class QuarantineQuery(Form):
    tenant_id: str | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    cursor: str | None = None


class BounceChange(Form):
    """PUT: only what is given changes."""

    enabled: bool | None = None
    imap_host: Host | None = None
    imap_port: Port | None = None
    imap_user: Line | None = None
    imap_password: Secret | None = None
    imap_folder: Folder | None = None
    imap_ssl: bool | None = None
    poll_interval: Interval | None = None
    return_path: ReturnPath | None = None
    processed: Processed | None = None
    strict: bool | None = None


class InstanceChange(Form):
    """PUT: only what is given changes."""

    name: Line | None = None
    api_token: Secret | None = None
    bounce_enabled: bool | None = None
    bounce_imap_host: Host | None = None
    bounce_imap_port: Port | None = None
    bounce_imap_user: Line | None = None
    bounce_imap_password: Secret | None = None
    bounce_imap_folder: Folder | None = None
    bounce_imap_ssl: bool | None = None
    bounce_poll_interval: Interval | None = None
    bounce_return_path: ReturnPath | None = None
    bounce_processed: Processed | None = None
    bounce_strict: bool | None = None
