"""db migrate, db status: the schema of a database."""

import click

from mailproxy.cli import show
from mailproxy.cli.exits import Exit
from mailproxy.cli.home import environment_settings, existing_instance
from mailproxy.cli.names import INSTANCE
from mailproxy.config import Settings
from sql import migrate as migrations

instance_option = click.option(
    "-i",
    "--instance",
    type=INSTANCE,
    help="The instance whose database is meant.  [the environment's database]",
)


@click.group()
def db() -> None:
    """Bring a database's schema up to date, or look at it."""


@db.command()
@instance_option
@show.json_option
def migrate(instance: str | None, as_json: bool) -> None:
    """Apply the migrations that are missing.

    Safe when two do it at once.
    """
    database = _settings(instance).database
    applied = migrations.migrate(database)
    if as_json:
        return show.document({"database": database.label, "applied": applied})
    for name in applied:
        click.echo(f"Applied {name}")
    return click.echo(f"{database.label} is up to date.")


@db.command()
@instance_option
@show.json_option
def status(instance: str | None, as_json: bool) -> int:
    """List the migrations.

    The exit code is 1 while some are missing or unknown.
    """
    database = _settings(instance).database
    found = migrations.status(database)
    current = not found.pending and not found.unknown
    if as_json:
        show.document({"database": database.label, "current": current, **found._asdict()})
    else:
        rows = [(name, "applied") for name in found.applied] + [(name, "missing") for name in found.pending]
        rows += [(f"{version:04}", "of a newer release") for version in found.unknown]
        show.details({"Database": database.label})
        show.table((show.Column("Migration"), show.Column("State")), rows)
    return Exit.OK if current else Exit.FAILED


def _settings(instance: str | None) -> Settings:
    return environment_settings() if instance is None else existing_instance(instance).settings()
