"""import genro: take over what a genro-mail-proxy 0.5 or 0.6 has not sent yet, with its tenants and accounts."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from mailproxy import config
from mailproxy.cli import show
from mailproxy.cli.carry import Carrying, Left, Tally
from mailproxy.cli.exits import Exit
from mailproxy.cli.home import environment_settings, existing_instance
from mailproxy.cli.names import INSTANCE
from mailproxy.cli.server import on_store
from mailproxy.config import Settings
from mailproxy.store import Store
from sql import genro

MOST_SHOWN = 20


@click.group("import")
def import_() -> None:
    """Take over the data of another program."""


@import_.command("genro")
@click.argument("source", metavar="DSN_OR_PATH")
@click.option("--into", type=INSTANCE, metavar="NAME", help="The instance that takes the data over.")
@click.option(
    "--database-url",
    help="Instead of --into: the postgresql:// URL or the path of a database; its key is MAIL_PROXY_ENCRYPTION_KEY.",
)
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The old encryption key: 32 bytes, or their base64.",
)
@click.option("--apply", "does", is_flag=True, help="Do it; without, only say what would be done.")
@show.json_option
def from_genro(
    source: str,
    into: str | None,
    database_url: str | None,
    key_file: Path | None,
    does: bool,
    as_json: bool,
) -> int:
    """Take over what a genro-mail-proxy has not sent yet.

    Tenants, accounts and unsent messages of release 0.5 or 0.6. DSN_OR_PATH is its SQLite file or
    postgresql:// URL, which is only read. Stop it before --apply: what it
    sends afterwards is sent twice. What is here already stays as it is, so this may be typed again. API keys go
    on working. The exit code is 1 when something cannot be carried over.
    """
    settings = _target(into, database_url)
    key = _key(key_file) if key_file else None
    try:
        database = config.database_at(source)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="DSN_OR_PATH") from error

    async def work(store: Store) -> Carrying:
        with genro.opened(database) as found:
            carrying = Carrying(found, store, settings, key, does)
            await carrying.run()
            return carrying

    carrying = on_store(settings, work)
    tallies = {"tenants": carrying.tenants, "accounts": carrying.accounts, "messages": carrying.messages}
    if as_json:
        show.document({"applied": does, **{name: asdict(tally) for name, tally in tallies.items()}})
    else:
        _show(tallies, done=does)
    return Exit.FAILED if any(tally.left for tally in tallies.values()) else Exit.OK


def _target(into: str | None, database_url: str | None) -> Settings:
    if (into is None) == (database_url is None):
        raise click.UsageError("Give --into NAME or --database-url, one of them.")
    if into is not None:
        return existing_instance(into).settings()
    return environment_settings(database_url=database_url)


def _key(file: Path) -> bytes:
    raw = file.read_bytes()
    try:
        decoded = base64.b64decode(raw.strip(), validate=True)
    except binascii.Error:
        decoded = b""
    found = next((one for one in (decoded, raw, raw.strip()) if len(one) == 32), None)
    if found is None:
        raise click.BadParameter("holds no key of 32 bytes, nor the base64 of one", param_hint="--key-file")
    return found


def _show(tallies: dict[str, Tally], *, done: bool) -> None:
    titles = ("", "Added" if done else "To add", "Here already", "Left behind")
    rows = ((name, tally.added, tally.known, len(tally.left)) for name, tally in tallies.items())
    show.table([show.Column(title) for title in titles], rows)
    for name, tally in tallies.items():
        _list("Left behind", name, tally.left)
        _list("Note", name, tally.notes)
    if not done:
        click.echo("Nothing was changed. Stop genro-mail-proxy, then type this again with --apply.")


def _list(title: str, kind: str, found: Sequence[Left]) -> None:
    for one in found[:MOST_SHOWN]:
        click.echo(f"{title}: {kind.removesuffix('s')} {show.harmless(f'{one.id}: {one.reason}')}")
    if len(found) > MOST_SHOWN:
        click.echo(f"… and {len(found) - MOST_SHOWN} more {kind}; --json lists them all.")
