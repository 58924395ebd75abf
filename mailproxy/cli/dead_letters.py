"""NAME TENANT dead-letters …: reports that the tenant's application did not take."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import click

from mailproxy.api import wire
from mailproxy.cli import ask, show
from mailproxy.cli.ask import Checked
from mailproxy.cli.exits import Exit
from mailproxy.cli.place import Place, pass_place
from mailproxy.client import AsyncMailProxyClient, DeadLetter
from mailproxy.model import Instant

PAGE = 500
COLUMNS = (
    show.Column("Event"),
    show.Column("Message"),
    show.Column("What"),
    show.Column("Happened"),
    show.Column("Because", cut=True),
)
EVENT = Checked(wire.EventId, "event")
TIME = Checked(wire.Moment, "time")

F = TypeVar("F", bound=Callable[..., object])


def _range(command: F) -> F:
    since = click.option("--since", type=TIME, help="Only events of this time (RFC 3339, Unix) or later.")
    until = click.option("--until", type=TIME, help="Only events before this time.")
    return since(until(command))


@click.group("dead-letters")
def dead_letters() -> None:
    """List, replay and discard reports that were given up."""


@dead_letters.command("list")
@_range
@click.option(
    "-l", "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Most to list."
)
@click.option("--all", "unlimited", is_flag=True, help="List them all.")
@show.json_option
@pass_place
def list_letters(
    place: Place, since: Instant | None, until: Instant | None, limit: int, unlimited: bool, as_json: bool
) -> None:
    """List the reports that were given up, the oldest first."""
    most = None if unlimited else limit
    found, more = place.do(lambda client: _listed(client, since, until, most))
    if as_json:
        show.document([show.told(letter.raw) for letter in found])
    elif not found:
        click.echo("No dead letters.")
    else:
        show.table(COLUMNS, (_row(letter) for letter in found))
    if more:
        show.note(f"There are more than {limit}: --limit or --all shows them.")


@dead_letters.command("replay")
@click.argument("events", metavar="[EVENT]...", nargs=-1, type=EVENT)
@_range
@click.option("--all", "everything", is_flag=True, help="All of the tenant's.")
@show.json_option
@pass_place
def replay(
    place: Place,
    events: tuple[int, ...],
    since: Instant | None,
    until: Instant | None,
    everything: bool,
    as_json: bool,
) -> int:
    """Report them again: single events, those of a time, or all."""
    _require_choice(events, since, until, everything=everything)
    done = place.do(lambda client: client.dead_letters.replay(events or None, since=since, until=until))
    return _say("replayed", done.replayed, done.not_found, as_json=as_json)


@dead_letters.command("discard")
@click.argument("events", metavar="[EVENT]...", nargs=-1, type=EVENT)
@_range
@click.option("--all", "everything", is_flag=True, help="All of the tenant's.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@show.json_option
@pass_place
def discard(
    place: Place,
    events: tuple[int, ...],
    since: Instant | None,
    until: Instant | None,
    everything: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Give up reporting them; their messages may then be cleaned up."""
    _require_choice(events, since, until, everything=everything)
    ask.sure("Never report them?", force=force)
    begin = 0.0 if everything else since
    done = place.do(lambda client: client.dead_letters.discard(events or None, since=begin, until=until))
    return _say("discarded", done.discarded, done.not_found, as_json=as_json)


async def _listed(
    client: AsyncMailProxyClient, since: Instant | None, until: Instant | None, most: int | None
) -> tuple[list[DeadLetter], bool]:
    """Up to `most` of them, and whether there are more."""
    found: list[DeadLetter] = []
    cursor: str | None = None
    while True:
        size = PAGE if most is None else min(PAGE, most - len(found))
        page = await client.dead_letters.page(since=since, until=until, cursor=cursor, limit=size)
        found += page.items
        cursor = page.cursor
        if cursor is None or len(found) == most:
            return found, cursor is not None


def _require_choice(
    events: tuple[int, ...], since: Instant | None, until: Instant | None, *, everything: bool
) -> None:
    is_narrowed = bool(events) or since is not None or until is not None
    if is_narrowed == everything:
        raise click.UsageError("Say which: EVENT..., --since, --until, or --all.")


def _say(what: str, count: int, missing: Sequence[int], *, as_json: bool) -> int:
    if as_json:
        show.document({what: count, "not_found": list(missing)})
    else:
        click.echo(f"{count} {what}.")
    for event in missing:
        show.note(f"Error: event {event} is no dead letter.")
    return Exit.NOT_FOUND if missing else Exit.OK


def _row(letter: DeadLetter) -> tuple[object, ...]:
    happened = (show.moment(letter.event_ts) or "")[:-3]
    return (letter.event_id, letter.id, letter.event_type, happened, letter.cause)
