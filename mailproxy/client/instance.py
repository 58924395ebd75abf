"""Calls about the instance's own settings and its command log; for the admin."""

from typing import TypedDict, Unpack

from mailproxy.client.answers import Page
from mailproxy.client.answers_instance import Bounce, Command, Instance, SetAside
from mailproxy.client.exchange import Context, Request, Steps, ask, every
from mailproxy.client.reading import many, read
from mailproxy.model import Instant

PAGE = 500


class BounceFields(TypedDict, total=False):
    """The bounce mailbox; the password is written and never read back."""

    enabled: bool
    imap_host: str | None
    imap_port: int | None
    imap_user: str | None
    imap_password: str | None
    imap_folder: str
    imap_ssl: bool
    poll_interval: int
    return_path: str | None
    processed: str


class CommandFilters(TypedDict, total=False):
    """Which commands; `endpoint` is a method and a path, such as `POST /tenant`."""

    tenant_id: str
    since: Instant | str
    until: Instant | str
    endpoint: str


def get(context: Context) -> Steps[Instance]:
    return read(Instance, (yield from ask(context, Request("GET", "/instance"))))


def rename(context: Context, name: str) -> Steps[None]:
    """Give the instance another name for people."""
    yield from ask(context, Request("PUT", "/instance", body={"name": name}))


def bounce(context: Context) -> Steps[Bounce]:
    """How bounces are fetched."""
    return read(Bounce, (yield from ask(context, Request("GET", "/instance/bounce"))))


def update_bounce(context: Context, **fields: Unpack[BounceFields]) -> Steps[None]:
    """Change what is given and nothing else; it holds from the next look into the mailbox on."""
    yield from ask(context, Request("PUT", "/instance/bounce", body={**fields}))


def reload_bounce(context: Context) -> Steps[None]:
    """Look into the bounce mailbox at once, as it is set now; raises BadRequest when it is not set."""
    yield from ask(context, Request("POST", "/instance/bounce/reload"))


def quarantine(
    context: Context, *, tenant_id: str | None = None, limit: int | None = None
) -> Steps[list[SetAside]]:
    """Mails that could not be read, all or the newest `limit`, the newest first."""
    size = PAGE if limit is None else min(PAGE, limit)

    def part(cursor: str | None) -> Steps[Page[SetAside]]:
        query = {"tenant_id": tenant_id, "cursor": cursor, "limit": size}
        answer = yield from ask(context, Request("GET", "/quarantine", query))
        return Page(many(SetAside, answer.get("mails")), answer.get("next_cursor"))

    return (yield from every(part, limit))


def commands_page(
    context: Context, *, cursor: str | None = None, limit: int = PAGE, **wanted: Unpack[CommandFilters]
) -> Steps[Page[Command]]:
    """At most `limit` commands, of which 500 are the most; the newest come first."""
    request = Request("GET", "/command-log", {**wanted, "cursor": cursor, "limit": limit})
    answer = yield from ask(context, request)
    return Page(many(Command, answer.get("commands")), answer.get("next_cursor"))


def commands(
    context: Context, *, limit: int | None = None, **wanted: Unpack[CommandFilters]
) -> Steps[list[Command]]:
    """All commands, or the newest `limit`; `commands_page` gives them piece by piece."""
    size = PAGE if limit is None else min(PAGE, limit)
    return (
        yield from every(lambda cursor: commands_page(context, cursor=cursor, limit=size, **wanted), limit)
    )


def export_commands(context: Context, **wanted: Unpack[CommandFilters]) -> Steps[bytes]:
    """All commands as a JSON object a line, the oldest first."""
    found: bytes = yield from ask(context, Request("GET", "/command-log/export", {**wanted}, is_json=False))
    return found
