"""NAME config show, get, set, bounce: the instance's own settings, as `/instance` has them."""

from collections.abc import Mapping
from typing import Any

import click

from mailproxy.api import wire, wire_instance
from mailproxy.cli import ask, show
from mailproxy.cli.ask import Checked, F, asked
from mailproxy.cli.exits import Exit, Failure
from mailproxy.cli.place import pass_server
from mailproxy.cli.server import Server
from mailproxy.client import AsyncMailProxyClient

_PASSWORD = "bounce_imap_password"  # noqa: S105 - a field's name


def _is_on(given: Mapping[str, Any]) -> bool:
    return given.get("bounce_enabled") is not False


def _has_no_file(given: Mapping[str, Any]) -> bool:
    return _is_on(given) and not given.get("bounce_imap_password_file")


_MAILBOX = (
    asked(
        "--bounce-enabled/--bounce-disabled",
        default=None,
        prompt="Read a mailbox for bounces: yes, no (Enter: as it is)",
        note="Whether the mailbox is read.",
    ),
    asked(
        "--bounce-imap-host",
        when=_is_on,
        type=Checked(wire.Host, "host"),
        prompt="IMAP server (Enter: as it is)",
        note="Name or address of the IMAP server.",
    ),
    asked(
        "--bounce-imap-port",
        when=_is_on,
        type=click.IntRange(1, 65535),
        prompt="Port (Enter: as it is)",
        note="Its port.  [993 with TLS, 143 without]",
    ),
    click.option(
        "--bounce-imap-ssl/--no-bounce-imap-ssl",
        default=None,
        help="TLS from the start, or STARTTLS if offered.",
    ),
    asked(
        "--bounce-imap-user",
        when=_is_on,
        type=Checked(wire.Line, "text"),
        prompt="User (Enter: as it is)",
        note="User to log in as.",
    ),
    click.option(
        "--bounce-imap-password-file", metavar="FILE", help="File that holds the password; - for stdin."
    ),
    asked(
        "--bounce-imap-password",
        when=_has_no_file,
        hide_input=True,
        prompt="Password (Enter: as it is)",
        note="Password; others can see it, so better use the prompt or --bounce-imap-password-file.",
    ),
    asked(
        "--bounce-imap-folder",
        when=_is_on,
        type=Checked(wire_instance.Folder, "folder"),
        prompt="Folder (Enter: as it is)",
        note="Folder that is read.  [INBOX]",
    ),
    click.option(
        "--bounce-poll-interval",
        type=Checked(wire_instance.Interval, "seconds"),
        help="How often it is read.  [60]",
    ),
    click.option(
        "--bounce-processed",
        type=Checked(wire_instance.Processed, "what"),
        metavar="WHAT",
        help="What becomes of mail that was read: delete, seen or move:FOLDER.  [delete]",
    ),
    click.option(
        "--bounce-strict/--no-bounce-strict",
        default=None,
        help="Whether only bounces count that carry our proof.  [no]",
    ),
    asked(
        "--bounce-return-path",
        when=_is_on,
        type=Checked(wire_instance.ReturnPath, "address"),
        prompt="Address that bounces go to (Enter: as it is)",
        note="Envelope sender of messages that name none, so that bounces reach this mailbox.",
    ),
)


def _mailbox_options(command: F) -> F:
    for option in reversed(_MAILBOX):
        command = option(command)
    return command


@click.group()
def config() -> None:
    """Show and change the instance's own settings."""


@config.command("show")
@click.option("--all", "everything", is_flag=True, help="Add the server's settings, as they are in force.")
@show.json_option
@pass_server
def show_settings(server: Server, everything: bool, as_json: bool) -> None:
    """Show the settings; of secrets only whether they are set."""
    in_force = server.instance.settings().redacted() if everything else {}
    found = server.do(_found)
    if as_json:
        return show.document(found | ({"server": in_force} if everything else {}))
    _details(found)
    if everything:
        click.echo("\nThe server's (environment, config.toml, defaults):")
        show.details(in_force)
    return None


@config.command("get")
@click.argument("field")
@show.json_option
@pass_server
def get_setting(server: Server, field: str, as_json: bool) -> None:
    """Print one setting, and nothing else."""
    found = server.do(_found)
    if field not in found:
        raise Failure(
            f"The setting {field!r} is not set, or there is none of this name.",
            Exit.NOT_FOUND,
            remedy=f"Those that are set: {', '.join(found)}",
        )
    value = found[field]
    if as_json:
        return show.document({field: value})
    return click.echo(str(value).lower() if isinstance(value, bool) else value)


@config.command("set")
@click.option("--name", type=Checked(wire.Line, "text"), help="The instance's name for people.")
@_mailbox_options
@show.json_option
@pass_server
def set_settings(server: Server, /, as_json: bool, name: str | None, **options: Any) -> None:
    """Change what is given, and nothing else; a running server follows."""
    given = _given(options) | ({} if name is None else {"name": name})
    if not given:
        raise Failure("Nothing to change: give at least one option.")
    _change(server, given, as_json=as_json)


@config.command("bounce")
@ask.defaults_option
@_mailbox_options
@show.json_option
@pass_server
def set_bounce(server: Server, /, as_json: bool, defaults: bool, **options: Any) -> None:
    """Set up the mailbox that bounces come to; asks for what is missing."""
    _change(server, _given(options), as_json=as_json)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    option = "bounce-imap-password"
    password = ask.secret(option, options[_PASSWORD], options[f"{_PASSWORD}_file"])
    plain = {name: value for name, value in options.items() if not name.startswith(_PASSWORD)}
    return {name: value for name, value in {**plain, _PASSWORD: password}.items() if value is not None}


def _change(server: Server, given: Mapping[str, Any], *, as_json: bool) -> None:
    """A mailbox that is to be read needs a server; its reader is told at once."""

    async def work(client: AsyncMailProxyClient) -> dict[str, Any]:
        if given.get("bounce_enabled") and "bounce_imap_host" not in {*given, *await _found(client)}:
            raise click.UsageError("The mailbox has no server: add --bounce-imap-host.")
        if given:
            await client.call("PUT", "/instance", body=given)
        found = await _found(client)
        if found.get("bounce_enabled") and any(name.startswith("bounce_") for name in given):
            await client.call("POST", "/instance/reload-bounce")
        return found

    found = server.do(work)
    return show.document(found) if as_json else _details(found)


async def _found(client: AsyncMailProxyClient) -> dict[str, Any]:
    return show.told(await client.call("GET", "/instance"))


def _details(found: Mapping[str, Any]) -> None:
    show.details(
        {name: show.moment(value) if name.endswith("_at") else value for name, value in found.items()}
    )
