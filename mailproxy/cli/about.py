"""NAME info, stats, token, run-now: an instance as a whole."""

import click

from mailproxy import tokens
from mailproxy.cli import process, show
from mailproxy.cli.exits import Exit, Failure
from mailproxy.cli.home import Instance
from mailproxy.cli.place import Place, pass_instance, pass_place, pass_server, shown_tenant
from mailproxy.cli.server import Remote, Server


@click.command()
@show.json_option
@pass_server
def info(server: Server, as_json: bool) -> None:
    """Show where an instance is and how to reach it."""
    if isinstance(server, Remote):
        return _show_remote(server, as_json=as_json)
    return _show_local(server.instance, as_json=as_json)


def _show_remote(server: Remote, *, as_json: bool) -> None:
    found = server.do(lambda client: client.status())
    if as_json:
        return show.document({"url": server.url, **show.told(found.raw)})
    return show.details(
        {
            "URL": server.url,
            "Version": found.version,
            "Node": found.node,
            "Sending": "on" if found.active else "suspended",
            "Messages waiting": found.pending,
            "Processes": ", ".join(f"{count} {role}" for role, count in found.processes.items()) or None,
        }
    )


def _show_local(instance: Instance, *, as_json: bool) -> None:
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
@pass_server
def stats(server: Server, as_json: bool) -> None:
    """Count tenants, accounts and messages."""
    found = server.do(lambda client: client.stats())
    if as_json:
        return show.document(show.told(found.raw))
    fates = {f"  {name}": count for name, count in found.messages.items() if name != "total"}
    return show.details(
        {
            "Tenants": found.tenants,
            "Accounts": found.accounts,
            "Messages": found.messages["total"],
            **fates,
            "Reports waiting": found.reports_pending,
            "Reports given up": found.reports_dead,
            "Tenants switched off": found.tenants_switched_off,
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
@pass_server
def run_now(server: Server, as_json: bool) -> None:
    """Send what is due and report to every tenant at once."""
    server.require_running()
    server.do(lambda client: client.run_now())
    _say_woken("every tenant", as_json=as_json)


@click.command("run-now")
@show.json_option
@pass_place
def run_now_for_tenant(place: Place, as_json: bool) -> None:
    """Send what is due and report to this tenant at once."""
    place.server.do(lambda client: shown_tenant(client, place.server, place.tenant))
    place.server.require_running()
    place.do(lambda client: client.run_now())
    _say_woken(place.tenant, as_json=as_json)


def _say_woken(whom: str, *, as_json: bool) -> None:
    show.say(f"Woken for {whom}.")
    if as_json:
        show.document({"ok": True})


COMMANDS = (info, stats, token, run_now)
