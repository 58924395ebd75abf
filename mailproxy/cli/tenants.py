"""NAME tenants …: who may send through an instance."""

from typing import Any

import click

from mailproxy.cli import ask, show
from mailproxy.cli.names import NEW_TENANT, TENANT
from mailproxy.cli.place import Place, pass_place, pass_server, required, server_of, shown_tenant
from mailproxy.cli.server import Server
from mailproxy.cli.tenant_options import Given, tenant_options
from mailproxy.client import AsyncMailProxyClient, NotFound, Tenant
from mailproxy.errors import Conflict


@click.group()
def tenants() -> None:
    """Add, list, show, change and delete tenants."""


@tenants.command("list")
@click.option("-a", "--active-only", is_flag=True, help="Leave out the inactive ones.")
@show.json_option
@pass_server
def list_tenants(server: Server, active_only: bool, as_json: bool) -> None:
    """List the tenants."""
    found = server.do(lambda client: client.tenants.list(active_only))
    if as_json:
        return show.document([tenant.raw for tenant in found])
    if not found:
        return click.echo(f"No tenants yet. Add one with:\n  {server.words} tenants add NAME")
    columns = [
        show.Column("ID"),
        show.Column("Name"),
        show.Column("Active"),
        show.Column("Base URL", cut=True),
    ]
    return show.table(columns, ((one.id, one.name, one.active, one.client_base_url) for one in found))


@tenants.command("show")
@click.argument("tenant_id", metavar="ID", type=TENANT)
@show.json_option
@pass_server
def show_tenant(server: Server, tenant_id: str, as_json: bool) -> None:
    """Show a tenant; its secrets are never shown."""
    _show(server.do(lambda client: shown_tenant(client, server, tenant_id)), as_json=as_json)


def _free(ctx: click.Context, _: click.Parameter, tenant_id: str) -> str:
    """Says that an id is taken before anything else is asked."""
    server = server_of(ctx)
    if server is not None and ask.interactive() and not ctx.resilient_parsing:
        there = required(server)
        there.do(lambda client: _refuse_taken(client, there, tenant_id))
    return tenant_id


@tenants.command("add")
@click.argument("tenant_id", metavar="ID", cls=ask.AskedArgument, type=NEW_TENANT, callback=_free)
@ask.defaults_option
@tenant_options
@click.option("--inactive", is_flag=True, help="Add it without making idle calls to it.")
@show.json_option
@pass_server
def add(
    server: Server, /, tenant_id: str, inactive: bool, as_json: bool, defaults: bool, **options: Any
) -> None:
    """Add a tenant and print its API key, only this once."""
    wanted = Given.of(options).changes(None)
    wanted["active"] = not inactive

    async def work(client: AsyncMailProxyClient) -> str | None:
        await _refuse_taken(client, server, tenant_id)
        return (await client.tenants.add(tenant_id, **wanted)).api_key

    key = server.do(work)
    if as_json:
        return show.document({"ok": True, "id": tenant_id, "api_key": key})
    click.echo(f"Added tenant {tenant_id}. Its API key, shown only this once:\n  {key}")
    click.echo("Next:")
    return show.commands(
        (f"{server.words} {tenant_id} accounts add main --host smtp.example.com", "add an SMTP account")
    )


@tenants.command("update")
@click.argument("tenant_id", metavar="ID", type=TENANT)
@tenant_options
@click.option("--active/--inactive", default=None, help="Whether idle calls are made to it.")
@click.option(
    "--suppress-bounces/--no-suppress-bounces",
    default=None,
    help="Whether verified hard bounces and complaints suppress addresses.",
)
@click.option("--switch-on", is_flag=True, help="Call its application again after it was switched off.")
@show.json_option
@pass_server
def update(
    server: Server,
    /,
    tenant_id: str,
    active: bool | None,
    suppress_bounces: bool | None,
    switch_on: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Change what is given of a tenant, and nothing else."""
    given = Given.of(options)
    if not given and active is None and suppress_bounces is None and not switch_on:
        raise click.UsageError("Nothing to change: give at least one option.")

    async def work(client: AsyncMailProxyClient) -> Tenant:
        changes = given.changes(await shown_tenant(client, server, tenant_id))
        if active is not None:
            changes["active"] = active
        if suppress_bounces is not None:
            changes["suppress_bounces"] = suppress_bounces
        if switch_on:
            changes["switch_on"] = True
        await client.tenants.update(tenant_id, **changes)
        return await client.tenants.get(tenant_id)

    _show(server.do(work), as_json=as_json)


@tenants.command("api-key")
@click.argument("tenant_id", metavar="ID", type=TENANT)
@click.option(
    "--keep-previous",
    type=click.IntRange(min=0),
    default=0,
    metavar="SECONDS",
    help="How long the former key goes on working.  [0]",
)
@show.json_option
@pass_server
def api_key(server: Server, tenant_id: str, keep_previous: int, as_json: bool) -> None:
    """Print a new API key, which replaces the former one."""

    async def work(client: AsyncMailProxyClient) -> str:
        await shown_tenant(client, server, tenant_id)
        return await client.tenants.new_key(tenant_id, keep_previous=keep_previous)

    key = server.do(work)
    return show.document({"ok": True, "api_key": key}) if as_json else click.echo(key)


@tenants.command("delete")
@click.argument("tenant_id", metavar="ID", type=TENANT)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@show.json_option
@pass_server
def delete(server: Server, tenant_id: str, force: bool, as_json: bool) -> None:
    """Delete a tenant with its accounts and messages."""
    server.do(lambda client: shown_tenant(client, server, tenant_id))
    ask.sure(f"Delete tenant {tenant_id} with all its accounts and messages?", force=force)
    server.do(lambda client: client.tenants.delete(tenant_id))
    return show.document({"ok": True}) if as_json else click.echo(f"Deleted tenant {tenant_id}.")


@click.command()
@show.json_option
@pass_place
def info(place: Place, as_json: bool) -> None:
    """Show the tenant; its secrets are never shown."""
    found = place.server.do(lambda client: shown_tenant(client, place.server, place.tenant))
    _show(found, as_json=as_json)


async def _refuse_taken(client: AsyncMailProxyClient, server: Server, tenant_id: str) -> None:
    try:
        await client.tenants.get(tenant_id)
    except NotFound:
        return
    raise Conflict(
        f"There is a tenant {tenant_id!r} already.\nChange it with: {server.words} tenants update {tenant_id}"
    )


def _show(tenant: Tenant, *, as_json: bool) -> None:
    if as_json:
        return show.document(tenant.raw)
    return show.details(
        {
            "ID": tenant.id,
            "Name": tenant.name,
            "Active": tenant.active,
            "Base URL": tenant.client_base_url,
            "Sync path": tenant.client_sync_path,
            "Attachment path": tenant.client_attachment_path,
            "Login there": tenant.client_auth.get("method"),
            "Switched off": tenant.switched_off,
            "Switched off since": show.moment(tenant.switched_off_since),
            "Calls are signed": tenant.webhook_secret_set,
            "Bounces suppress": tenant.suppress_bounces,
            "Messages an hour": tenant.rate_limits.get("hourly"),
            "Messages a day": tenant.rate_limits.get("daily"),
            "Created": show.moment(tenant.created_at),
            "Changed": show.moment(tenant.updated_at),
        }
    )
