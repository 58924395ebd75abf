"""doctor: examine an installation, a line for each thing, and say what to do."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict

import click

from mailproxy import shapes
from mailproxy.cli import context, show
from mailproxy.cli.diagnosis import Health, Installation, Result, worst
from mailproxy.cli.exits import Exit
from mailproxy.cli.home import environment_settings, existing_instance
from mailproxy.cli.names import INSTANCE
from mailproxy.model import Seconds

_DATABASES = ("GMP_DATABASE_URL", "GMP_DB_PATH", "MAIL_PROXY_DB_PATH")


@click.command()
@click.argument("name", type=INSTANCE, required=False)
@click.option("--offline", is_flag=True, help="Leave out SMTP servers and the tenants' URLs.")
@click.option(
    "--timeout",
    "each",
    type=click.FloatRange(min=0.1),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long one server may take.",
)
@click.option(
    "--within",
    type=click.FloatRange(min=0.1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long all servers together may take.",
)
@show.json_option
def doctor(name: str | None, offline: bool, each: Seconds, within: Seconds, as_json: bool) -> int:
    """Examine an instance, or the server the environment describes.

    Database, schema, key, clock, disk and processes; then a connection and a login for each account, and an
    empty call to each tenant's URL. No mail is sent. The exit code is 1 when something fails.
    """
    found = asyncio.run(_examine(name, offline=offline, each=each, within=within, as_json=as_json))
    health = worst(found)
    if as_json:
        show.document(
            {"ok": health is not Health.FAIL, "checks": [shapes.present(asdict(one)) for one in found]}
        )
    else:
        counts = [f"{sum(one.health is kind for one in found)} {kind}" for kind in Health]
        click.echo(", ".join(counts))
    return Exit.FAILED if health is Health.FAIL else Exit.OK


async def _examine(
    name: str | None, *, offline: bool, each: Seconds, within: Seconds, as_json: bool
) -> list[Result]:
    found = []
    async with aclosing(_results(name, offline=offline, each=each, within=within)) as results:
        async for result in results:
            found.append(result)
            if not as_json:
                _show(result)
    return found


async def _results(
    name: str | None, *, offline: bool, each: Seconds, within: Seconds
) -> AsyncGenerator[Result]:
    """Outermost first; what needs what failed is left out."""
    from mailproxy.cli import examine  # noqa: PLC0415 what only this needs takes long to import
    from workers.reporter.loop import caller_of  # noqa: PLC0415

    place = _place(name)
    for result in examine.at_home(place):
        yield result
    for result in (outer := examine.database(place)):
        yield result
    if worst(outer) is Health.FAIL:
        return
    if missing := examine.key_problem(place.settings):
        yield missing
        return
    store, closed = await examine.opened(place)
    if store is None:
        assert closed is not None
        yield closed
        return
    async with aclosing(store):
        for result in await examine.inside(place, store):
            yield result
        if offline:
            return
        instance = await store.fleet.instance()
        async with aclosing(caller_of(instance, place.settings, total=each)) as caller:
            visited = examine.visit(await examine.peers(place, store, caller, each), within)
            async with aclosing(visited):
                async for result in visited:
                    yield result


def _place(name: str | None) -> Installation:
    """The instance that is named or chosen; without one, or where the environment names a database, its server."""
    chosen = None if name or any(os.environ.get(one) for one in _DATABASES) else context.chosen()
    named = name or (chosen.instance if chosen else None)
    if named is None:
        return Installation(environment_settings(), "mail-proxy NAME", "", "mail-proxy serve")
    settings = existing_instance(named).settings()
    return Installation(settings, f"mail-proxy {named}", f" -i {named}", f"mail-proxy start {named} -b")


def _show(result: Result) -> None:
    click.echo(f"{result.health:<5} {show.harmless(f'{result.name}: {result.text}')}")
    if result.remedy:
        click.echo(f"      -> {show.harmless(result.remedy)}")
