"""NAME info, stats, token, run-now: an instance as a whole."""

import click

from mailproxy import shapes, tokens
from mailproxy.cli import process, show
from mailproxy.cli.exits import Exit, Failure
from mailproxy.cli.home import Instance
from mailproxy.cli.place import Place, on_store, pass_instance, pass_place
from mailproxy.figures import Overview, Totals
from mailproxy.model import TenantPk
from mailproxy.records import Tenant
from mailproxy.store import Store


@click.command()
@show.json_option
@pass_instance
def info(instance: Instance, as_json: bool) -> None:
    """Show where an instance is and how to reach it."""
    settings = instance.settings()
    server = process.running(instance)
    host, port = (server.host, server.port) if server else (settings.host, settings.port)
    found = {
        "name": instance.name,
        "status": "running" if server else "stopped",
        "url": process.url_of(host, port),
        "host": host,
        "port": port,
        "pid": server.pid if server else None,
        "db_path": settings.database.label,
        "log": str(instance.log_file),
        "api_token": settings.api_token.get_secret_value() if settings.api_token else None,
    }
    if as_json:
        return show.document(found)
    return show.details(
        {
            "Instance": instance.name,
            "Status": found["status"],
            "URL": found["url"],
            "PID": found["pid"],
            "Database": found["db_path"],
            "Log": found["log"],
            "Admin token": f"shown by: mail-proxy {instance.name} token",
        }
    )


@click.command()
@show.json_option
@pass_instance
def stats(instance: Instance, as_json: bool) -> None:
    """Count tenants, accounts and messages."""

    async def work(store: Store) -> tuple[Overview, Totals]:
        return await store.fleet.overview(), await store.fleet.totals()

    found, totals = on_store(instance.settings(), work)
    counted = shapes.stats(found, totals)
    if as_json:
        return show.document(counted)
    return show.details(
        {
            "Tenants": found.tenants,
            "Accounts": found.accounts,
            "Messages": totals.messages,
            **{f"  {name}": count for name, count in counted["messages"].items() if name != "total"},
            "Reports waiting": found.reports_pending,
            "Reports given up": found.reports_dead,
            "Tenants switched off": found.switched_off,
            "Sending": "on" if found.active else "suspended for all",
        }
    )


@click.command()
@click.option(
    "-r", "--regenerate", is_flag=True, help="Make a new token; the old one ends at the next restart."
)
@show.json_option
@pass_instance
def token(instance: Instance, regenerate: bool, as_json: bool) -> None:
    """Print the admin token, and nothing else."""
    if regenerate:
        fresh = tokens.new_secret()
        instance.remember(api_token=fresh)
        if process.running(instance):
            show.note(f"The server still takes the old token until: mail-proxy restart {instance.name}")
    current = instance.settings().api_token
    if current is None:
        raise Failure(
            f"{instance.name} has no admin token.",
            Exit.NOT_FOUND,
            remedy=f"Make one with: mail-proxy {instance.name} token --regenerate",
        )
    text = current.get_secret_value()
    return show.document({"api_token": text}) if as_json else click.echo(text)


@click.command("run-now")
@show.json_option
@pass_instance
def run_now(instance: Instance, as_json: bool) -> None:
    """Send what is due and report to every tenant at once."""

    _require_running(instance)

    async def work(store: Store) -> None:
        await _run_now(store, None)

    on_store(instance.settings(), work)
    _say_woken("every tenant", as_json=as_json)


@click.command("run-now")
@show.json_option
@pass_place
def run_now_for_tenant(place: Place, as_json: bool) -> None:
    """Send what is due and report to this tenant at once."""

    async def find(_: Store, tenant: Tenant) -> TenantPk:
        return tenant.pk

    async def work(store: Store, tenant: Tenant) -> None:
        await _run_now(store, tenant.pk)

    place.run(find)
    _require_running(place.instance)
    place.run(work)
    _say_woken(place.tenant, as_json=as_json)


async def _run_now(store: Store, tenant: TenantPk | None) -> None:
    await store.reports.poke(tenant)
    for topic in ("queue", "reports"):
        await store.wakeups.announce(topic)


def _require_running(instance: Instance) -> None:
    if process.running(instance) is None:
        raise Failure(
            f"{instance.name} is not running.", remedy=f"Start it with: mail-proxy start {instance.name} -b"
        )


def _say_woken(whom: str, *, as_json: bool) -> None:
    show.say(f"Woken for {whom}.")
    if as_json:
        show.document({"ok": True})


COMMANDS = (info, stats, token, run_now)
