"""NAME TENANT suppressions …: addresses that the tenant's mail is not sent to."""

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from mailproxy.api import wire
from mailproxy.cli import show
from mailproxy.cli.ask import Checked
from mailproxy.cli.exits import Exit, Failure
from mailproxy.cli.place import Place, pass_place
from mailproxy.cli.suppression_file import Line, read_lines
from mailproxy.client import AsyncMailProxyClient, BadRequest, Suppression
from mailproxy.model import Instant
from mailproxy.suppressions import Cause

PAGE = 500
PART = 1000
MOST_NAMED = 20
NOTHING_ADDED = "nothing_suppressed"
FIELDS = ("address", "reason", "event_id", "created_at", "expires_at")
COLUMNS = (
    show.Column("Address", cut=True),
    show.Column("Reason"),
    show.Column("Since"),
    show.Column("Until"),
)
TIME = Checked(wire.Moment, "time")
REASON = click.Choice([str(cause) for cause in Cause])

_filter = click.option("-q", "--query", metavar="TEXT", help="Only addresses that hold this text.")
_reason = click.option("--reason", type=REASON, help="Only entries for this reason.")


@click.group()
def suppressions() -> None:
    """List, add and remove addresses that get no mail."""


@suppressions.command("list")
@_filter
@_reason
@click.option(
    "-l", "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Most to list."
)
@click.option("--all", "unlimited", is_flag=True, help="List them all.")
@show.json_option
@pass_place
def list_suppressions(
    place: Place, query: str | None, reason: str | None, limit: int, unlimited: bool, as_json: bool
) -> None:
    """List the entries by address."""
    printed = show.JsonArray() if as_json else show.Rows(COLUMNS)
    most = None if unlimited else limit

    def tell(found: Sequence[Suppression]) -> None:
        printed.add([dict(one.raw) if as_json else _row(one) for one in found])  # type: ignore[misc]

    count, more = place.do(lambda client: _each_page(client, query, reason, most, tell))
    if isinstance(printed, show.JsonArray):
        printed.end()
    elif not count:
        click.echo("No suppressed addresses.")
    if more:
        show.note(f"There are more than {limit}: --limit or --all shows them.")


@suppressions.command("export")
@_filter
@_reason
@pass_place
def export(place: Place, query: str | None, reason: str | None) -> None:
    """Print all entries as comma-separated values, which `import` reads."""
    printed = show.CsvRows(FIELDS)
    place.do(
        lambda client: _each_page(
            client, query, reason, None, lambda found: printed.add(one.raw for one in found)
        )
    )


@suppressions.command("add")
@click.argument("address")
@click.option("--reason", type=REASON, default=str(Cause.MANUAL), show_default=True, help="Why.")
@click.option("--until", type=TIME, help="When the entry ends (RFC 3339, Unix); never, unless given.")
@show.json_option
@pass_place
def add(place: Place, address: str, reason: str, until: Instant | None, as_json: bool) -> None:
    """Send nothing more to an address."""
    done = place.do(lambda client: client.suppressions.add(address, reason=reason, expires_at=until))
    if as_json:
        return show.document(show.told(done.raw))
    return click.echo(f"{address} {'is suppressed' if done.added else 'was suppressed; changed'}.")


@suppressions.command("remove")
@click.argument("address")
@show.json_option
@pass_place
def remove(place: Place, address: str, as_json: bool) -> None:
    """Send mail to an address again."""
    place.do(lambda client: client.suppressions.remove(address))
    return show.document({"ok": True}) if as_json else click.echo(f"{address} is no longer suppressed.")


@suppressions.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "--reason", type=REASON, default=str(Cause.IMPORT), show_default=True, help="Where the file tells none."
)
@show.json_option
@pass_place
def import_file(place: Place, file: Path, reason: str, as_json: bool) -> int:
    """Add the addresses of a CSV file (- for stdin).

    They stand in a column `address` or `email`, or else in the first one. Columns `reason` and `expires_at` are
    taken over if there are any. Lines that are no entry are named and left out.
    """
    try:
        good, bad = read_lines(file, Cause(reason))
    except (OSError, ValueError) as error:
        raise Failure(f"{file} cannot be read: {error}", Exit.USAGE) from error
    added, updated, refused = place.do(lambda client: _import(client, good))
    bad = sorted([*bad, *refused])
    if as_json:
        lines = [{"line": number, "reason": why} for number, why in bad]
        show.document({"added": added, "updated": updated, "refused": lines})
    else:
        click.echo(f"{added} added, {updated} known before, {len(bad)} refused.")
    for number, why in bad[:MOST_NAMED]:
        show.note(f"Line {number}: {why}")
    if len(bad) > MOST_NAMED:
        show.note(f"… and {len(bad) - MOST_NAMED} more")
    return Exit.REFUSED if bad else Exit.OK


async def _import(
    client: AsyncMailProxyClient, lines: Sequence[Line]
) -> tuple[int, int, list[tuple[int, str]]]:
    """How many are new, how many known, and the numbers of refused lines, each with the reason."""
    added = updated = 0
    refused: list[tuple[int, str]] = []
    for start in range(0, len(lines), PART):
        part = {line.address: line for line in lines[start : start + PART]}
        try:
            done = await client.suppressions.add_many([line.entry() for line in part.values()])
        except BadRequest as none:
            if none.code != NOTHING_ADDED:
                raise
            refused += [(line.number, none.text) for line in part.values()]
            continue
        added, updated = added + done.added, updated + done.updated
        refused += [(part[one.address].number, one.reason) for one in done.refused]
    return added, updated, refused


async def _each_page(
    client: AsyncMailProxyClient,
    query: str | None,
    reason: str | None,
    most: int | None,
    tell: Callable[[Sequence[Suppression]], None],
) -> tuple[int, bool]:
    """Tell up to `most` of them; how many that were, and whether there are more."""
    count, cursor = 0, None
    while True:
        size = PAGE if most is None else min(PAGE, most - count)
        page = await client.suppressions.page(q=query, reason=reason, cursor=cursor, limit=size)
        if page.items:
            tell(page.items)
        count, cursor = count + len(page.items), page.cursor
        if cursor is None or count == most:
            return count, cursor is not None


def _row(one: Suppression) -> tuple[object, ...]:
    return (one.address, one.reason, show.moment(one.created_at), show.moment(one.expires_at))
