"""NAME TENANT dead-letters …: reports that the tenant's application did not take."""

from collections.abc import Callable
from typing import TypeVar

import click

from mailproxy import shapes
from mailproxy.api import wire
from mailproxy.cli import ask, show
from mailproxy.cli.ask import Checked
from mailproxy.cli.exits import Exit
from mailproxy.cli.place import Place, pass_place
from mailproxy.model import Instant
from mailproxy.records import Tenant
from mailproxy.reports import DeadLetter, Selection
from mailproxy.store import Store

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
    wanted, most = Selection(since=since, until=until), None if unlimited else limit

    async def work(store: Store, tenant: Tenant) -> tuple[list[DeadLetter], bool]:
        return await _listed(store, tenant, wanted, most)

    found, more = place.run(work)
    if as_json:
        show.document([shapes.dead_letter(letter) for letter in found])
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
    wanted = _selection(events, since, until, everything=everything)

    async def work(store: Store, tenant: Tenant) -> list[int]:
        replayed = await store.dead_letters.replay(tenant.pk, wanted)
        await store.wakeups.announce("reports")
        return replayed

    return _say("replayed", place.run(work), events, as_json=as_json)


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
    wanted = _selection(events, since, until, everything=everything)
    ask.sure("Never report them?", force=force)

    async def work(store: Store, tenant: Tenant) -> list[int]:
        return await store.dead_letters.discard(tenant.pk, wanted)

    return _say("discarded", place.run(work), events, as_json=as_json)


async def _listed(
    store: Store, tenant: Tenant, wanted: Selection, most: int | None
) -> tuple[list[DeadLetter], bool]:
    """Up to `most` of them, and whether there are more."""
    found: list[DeadLetter] = []
    while most is None or len(found) <= most:
        after = found[-1].event_id if found else 0
        page = await store.dead_letters.listed(tenant.pk, wanted, after=after, limit=PAGE)
        found += page
        if len(page) < PAGE:
            break
    return found[:most], most is not None and len(found) > most


def _selection(
    events: tuple[int, ...], since: Instant | None, until: Instant | None, *, everything: bool
) -> Selection:
    is_narrowed = bool(events) or since is not None or until is not None
    if is_narrowed == everything:
        raise click.UsageError("Say which: EVENT..., --since, --until, or --all.")
    return Selection(events or None, since, until)


def _say(what: str, done: list[int], events: tuple[int, ...], *, as_json: bool) -> int:
    missing = sorted(set(events).difference(done))
    if as_json:
        show.document({what: len(done), "not_found": missing})
    else:
        click.echo(f"{len(done)} {what}.")
    for event in missing:
        show.note(f"Error: event {event} is no dead letter.")
    return Exit.NOT_FOUND if missing else Exit.OK


def _row(letter: DeadLetter) -> tuple[object, ...]:
    happened = (show.moment(letter.event_ts) or "")[:-3]
    return (letter.event_id, letter.client_id, letter.event_type, happened, letter.cause)
