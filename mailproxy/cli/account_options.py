"""The options that describe an SMTP account, shared by `accounts add` (which asks for them) and `accounts update`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import click
from pydantic import Field

from mailproxy.api import wire
from mailproxy.cli import ask
from mailproxy.cli.ask import Checked, F, asked
from mailproxy.model import OnUnknownOutcome

SMTP_PORT = 587
LIMIT = Checked(wire.Limit, "count")
_FIELDS = {
    "host": "host",
    "port": "port",
    "user": "user",
    "tls": "use_tls",
    "tls_verify": "tls_verify",
    "batch_size": "batch_size",
    "ttl": "ttl",
    "limit_minute": "limit_per_minute",
    "limit_hour": "limit_per_hour",
    "limit_day": "limit_per_day",
    "limit_behavior": "limit_behavior",
    "max_retries": "max_retries",
    "pec": "is_pec_account",
    **{
        name: name
        for name in ("pec_address", "imap_host", "imap_port", "imap_user", "imap_folder", "imap_ssl")
    },
}

_ADDRESS = (
    asked(
        "-h",
        "--host",
        required=True,
        type=Checked(wire.Host, "host"),
        prompt="SMTP server",
        note="Name or address of the SMTP server.",
    ),
    asked(
        "-p",
        "--port",
        type=click.IntRange(1, 65535),
        default=SMTP_PORT,
        show_default=True,
        prompt="Port",
        note="Its port.",
    ),
)
_NEW_ADDRESS = (
    click.option("-h", "--host", type=Checked(wire.Host, "host"), help="Name or address of the SMTP server."),
    click.option("-p", "--port", type=click.IntRange(1, 65535), help="Its port."),
    click.option(
        "--tls-if-offered", is_flag=True, help="Leave TLS to the server; on port 465 it is always used."
    ),
)
_MAILBOX = (
    click.option("--pec/--no-pec", default=None, help="Its mail is certified (PEC).  [no]"),
    click.option(
        "--pec-address",
        type=Checked(wire.MailAddress, "address"),
        help="Address of the certified mailbox.  [the user, where it is one]",
    ),
    click.option(
        "--imap-host", type=Checked(wire.Host, "host"), help="IMAP server to read receipts and bounces from."
    ),
    click.option("--imap-port", type=click.IntRange(1, 65535), help="Its port.  [993]"),
    click.option("--imap-user", type=Checked(wire.Line, "text"), help="User to read as.  [as for SMTP]"),
    click.option("--imap-password-file", metavar="FILE", help="File with its password; - for stdin."),
    click.option("--imap-folder", type=Checked(wire.Folder, "folder"), help="Folder to read.  [INBOX]"),
    click.option(
        "--imap-ssl/--no-imap-ssl",
        default=None,
        help="TLS from the start, or STARTTLS if offered.  [from the start on 993, else STARTTLS is required]",
    ),
)
_OPTIONS = (
    asked(
        "-u",
        "--user",
        type=Checked(wire.Line, "text"),
        prompt="User (Enter for no login)",
        note="User to log in as.",
    ),
    click.option("--password-file", metavar="FILE", help="File that holds the password; - for stdin."),
    click.option("--password-stdin", is_flag=True, help="Read the password from stdin."),
    asked(
        "--password",
        hide_input=True,
        when=lambda given: (
            given.get("user") and not (given.get("password_file") or given.get("password_stdin"))
        ),
        prompt="Password",
        note="Password; others can see it, so better use the prompt, --password-stdin or --password-file.",
    ),
    asked(
        "--tls/--no-tls",
        default=None,
        prompt="TLS: yes, no (Enter: always on 465, else if the server offers it)",
        note="Insist on TLS, or never use it.  [always on 465, else if the server offers it]",
    ),
    click.option(
        "--tls-verify/--no-tls-verify", default=None, help="Check the server's certificate.  [check]"
    ),
    click.option(
        "--tls-ca",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="File with the certificates to trust, in PEM.",
    ),
    click.option(
        "--batch-size",
        type=Checked(Annotated[int, Field(ge=1, le=10000)], "count"),
        help="Messages to claim at once.",
    ),
    click.option(
        "--ttl",
        type=Checked(Annotated[int, Field(ge=1, le=86400)], "seconds"),
        help="How long a connection is used.  [300]",
    ),
    asked(
        "--limit-minute",
        type=LIMIT,
        prompt="Messages a minute (Enter for no limit)",
        note="Most in any minute; 0 for no limit.",
    ),
    asked(
        "--limit-hour",
        type=LIMIT,
        prompt="Messages an hour (Enter for no limit)",
        note="Most in any hour; 0 for no limit.",
    ),
    asked(
        "--limit-day",
        type=LIMIT,
        prompt="Messages a day (Enter for no limit)",
        note="Most in any day; 0 for no limit.",
    ),
    click.option(
        "--limit-behavior",
        type=click.Choice(["defer", "reject"]),
        help="What happens to messages above a limit.  [defer]",
    ),
    click.option(
        "--max-retries", type=click.IntRange(0, 100), help="Retries after temporary failures.  [the server's]"
    ),
    click.option(
        "--on-unknown",
        type=click.Choice([policy.value for policy in OnUnknownOutcome]),
        help="Messages that may or may not have gone out: send again, or hold for a decision.  [retry]",
    ),
)


def account_options(*, adding: bool) -> Callable[[F], F]:
    def described(command: F) -> F:
        for option in reversed([*(_ADDRESS if adding else _NEW_ADDRESS), *_OPTIONS, *_MAILBOX]):
            command = option(command)
        return command

    return described


def given_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an `AccountWrite` that were given."""
    given = {stored: options[name] for name, stored in _FIELDS.items() if options[name] is not None}
    password = _password(options)
    if password is not None:
        given["password"] = password
    if options["imap_password_file"] is not None:
        given["imap_password"] = ask.secret("imap_password", None, options["imap_password_file"])
    if options["tls_ca"] is not None:
        given["tls_ca"] = _certificates(options["tls_ca"])
    if options["on_unknown"] is not None:
        given["on_unknown_outcome"] = OnUnknownOutcome(options["on_unknown"])
    if options.get("tls_if_offered"):
        if options["tls"] is not None:
            raise click.UsageError("--tls-if-offered and --tls/--no-tls are both given: keep one of them.")
        given["use_tls"] = None
    return given


def _certificates(file: Path) -> str | None:
    try:
        return wire.certificates(file.read_text(encoding="ascii", errors="replace"))
    except ValueError as error:
        raise click.UsageError(f"--tls-ca: {file} {error}.") from None


def _password(options: Mapping[str, Any]) -> str | None:
    if options["password_stdin"] and options["password_file"]:
        raise click.UsageError("--password-stdin and --password-file are both given: keep one of them.")
    file = "-" if options["password_stdin"] else options["password_file"]
    return ask.secret("password", options["password"], file)
