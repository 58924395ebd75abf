"""bounces: read mail that came back, without a server."""

import json
from typing import TYPE_CHECKING, Any

import click

from mailproxy.cli import show

if TYPE_CHECKING:
    from mailproxy.bounces import Report

_FILE = click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True)
_COLUMNS = (
    show.Column("FILE", cut=True),
    show.Column("KIND"),
    show.Column("ADDRESS"),
    show.Column("ACTION"),
    show.Column("STATUS"),
    show.Column("TYPE"),
    show.Column("CLASS"),
    show.Column("ORIGINAL"),
    show.Column("REASON", cut=True),
)


@click.group()
def bounces() -> None:
    """Look at bounces, complaints and automatic answers."""


@bounces.command("parse")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line for each file.")
def parse_files(files: tuple[str, ...], as_json: bool) -> None:
    """Say what mails that came back tell of messages.

    `-` is standard input. Nothing is changed, and no server is asked. Ends with 0 whatever is in the mails.
    """
    from mailproxy.bounces import parse  # noqa: PLC0415 its patterns take long to compile

    rows: list[tuple[object, ...]] = []
    for name in files:
        report = parse(_octets(name))
        if as_json:
            click.echo(json.dumps(_object(name, report)))
        else:
            rows += _rows(name, report)
    if not as_json:
        show.table(_COLUMNS, rows)


def _octets(name: str) -> bytes:
    from mailproxy.received import MAX_OCTETS  # noqa: PLC0415 as above

    try:
        with click.open_file(name, "rb") as file:
            octets: bytes = file.read(MAX_OCTETS + 1)
            return octets
    except OSError as error:
        raise click.BadParameter(f"{name!r}: {error.strerror}") from error


def _object(name: str, report: "Report") -> dict[str, Any]:
    return {
        "file": name,
        "kind": report.kind,
        "recipients": [
            {
                "address": each.address,
                "action": each.action,
                "status": each.status,
                "type": each.type,
                "smtp_code": each.smtp_code,
                "reason": each.reason,
            }
            for each in report.recipients
        ],
        "original_id": report.original_id,
        "original_message_id": report.original_message_id,
    }


def _rows(name: str, report: "Report") -> list[tuple[object, ...]]:
    original = report.original_id or report.original_message_id
    if not report.recipients:
        return [(name, report.kind, None, None, None, None, None, original, None)]
    return [
        (
            name,
            report.kind,
            each.address,
            each.action,
            each.status or each.smtp_code,
            each.type,
            each.bounce_class,
            original,
            each.reason,
        )
        for each in report.recipients
    ]
