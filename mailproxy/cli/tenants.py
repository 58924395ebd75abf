"""NAME tenants …: who may send through an instance."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import click

from mailproxy import shapes, tokens, written
from mailproxy.cli import ask, show
from mailproxy.cli.exits import Failure
from mailproxy.cli.home import Instance
from mailproxy.cli.names import NEW_TENANT, TENANT
from mailproxy.cli.place import Place, existing_tenant, on_store, pass_instance, pass_place, required
from mailproxy.cli.tenant_options import Given, tenant_options
from mailproxy.errors import Conflict
from mailproxy.records import ClientAuth, Tenant, TenantWrite
from mailproxy.store import Store

PAGE = 500


@click.group()
def tenants() -> None:
    """Add, list, show, change and delete tenants."""


@tenants.command("list")
@click.option("-a", "--active-only", is_flag=True, help="Leave out the inactive ones.")
@show.json_option
@pass_instance
def list_tenants(instance: Instance, active_only: bool, as_json: bool) -> None:
    """List the tenants."""

    async def work(store: Store) -> list[Tenant]:
        return [tenant async for tenant in _all(store, active_only=active_only)]

    found = on_store(instance.settings(), work)
    if as_json:
        return show.document([shapes.tenant(tenant) for tenant in found])
    if not found:
        return click.echo(f"No tenants yet. Add one with:\n  mail-proxy {instance.name} tenants add NAME")
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
@pass_instance
def show_tenant(instance: Instance, tenant_id: str, as_json: bool) -> None:
    """Show a tenant; its secrets are never shown."""

    async def work(store: Store) -> Tenant:
        return await existing_tenant(store, instance, tenant_id)

    _show(on_store(instance.settings(), work), as_json=as_json)


def _free(ctx: click.Context, _: click.Parameter, tenant_id: str) -> str:
    """Says that an id is taken before anything else is asked."""
    instance = ctx.find_object(Instance)
    if instance is not None and ask.interactive() and not ctx.resilient_parsing:

        async def work(store: Store) -> None:
            await _refuse_taken(store, instance, tenant_id)

        on_store(required(instance).settings(), work)
    return tenant_id


@tenants.command("add")
@click.argument("tenant_id", metavar="ID", cls=ask.AskedArgument, type=NEW_TENANT, callback=_free)
@ask.defaults_option
@tenant_options
@click.option("--inactive", is_flag=True, help="Add it without making idle calls to it.")
@show.json_option
@pass_instance
def add(
    instance: Instance, /, tenant_id: str, inactive: bool, as_json: bool, defaults: bool, **options: Any
) -> None:
    """Add a tenant and print its API key, only this once."""
    given = Given.of(options)
    wanted = given.applied_to(TenantWrite(id=tenant_id, active=not inactive), ClientAuth())
    key = tokens.new_key()

    async def work(store: Store) -> None:
        await _refuse_taken(store, instance, tenant_id)
        await store.directory.put_tenant(wanted, key.hash, key.key_id)

    on_store(instance.settings(), work)
    if as_json:
        return show.document({"ok": True, "id": tenant_id, "api_key": key.token})
    click.echo(f"Added tenant {tenant_id}. Its API key, shown only this once:\n  {key.token}")
    click.echo("Next:")
    return show.commands(
        (
            f"mail-proxy {instance.name} {tenant_id} accounts add main --host smtp.example.com",
            "add an SMTP account",
        )
    )


@tenants.command("update")
@click.argument("tenant_id", metavar="ID", type=TENANT)
@tenant_options
@click.option("--active/--inactive", default=None, help="Whether idle calls are made to it.")
@click.option("--switch-on", is_flag=True, help="Call its application again after it was switched off.")
@show.json_option
@pass_instance
def update(
    instance: Instance, /, tenant_id: str, active: bool | None, switch_on: bool, as_json: bool, **options: Any
) -> None:
    """Change what is given of a tenant, and nothing else."""
    given = Given.of(options)
    if not given and active is None and not switch_on:
        raise click.UsageError("Nothing to change: give at least one option.")

    async def work(store: Store) -> Tenant:
        tenant = await existing_tenant(store, instance, tenant_id)
        changed = given.applied_to(written.tenant(tenant), tenant.client_auth)
        if active is not None:
            changed = replace(changed, active=active)
        changed = replace(changed, switch_on=switch_on or given.points_elsewhere)
        await store.directory.put_tenant(changed, None, None)
        return await existing_tenant(store, instance, tenant_id)

    _show(on_store(instance.settings(), work), as_json=as_json)


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
@pass_instance
def api_key(instance: Instance, tenant_id: str, keep_previous: int, as_json: bool) -> None:
    """Make a new API key in place of the former one and print it."""
    key = tokens.new_key()

    async def work(store: Store) -> None:
        await existing_tenant(store, instance, tenant_id)
        await store.directory.put_key(
            tenant_id, key.hash, key.key_id, expires_at=None, keep_previous=float(keep_previous)
        )

    on_store(instance.settings(), work)
    return show.document({"ok": True, "api_key": key.token}) if as_json else click.echo(key.token)


@tenants.command("delete")
@click.argument("tenant_id", metavar="ID", type=TENANT)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@show.json_option
@pass_instance
def delete(instance: Instance, tenant_id: str, force: bool, as_json: bool) -> None:
    """Delete a tenant with its accounts and messages."""

    async def find(store: Store) -> None:
        await existing_tenant(store, instance, tenant_id)

    async def work(store: Store) -> bool:
        return await store.directory.delete_tenant(tenant_id)

    settings = instance.settings()
    on_store(settings, find)
    ask.sure(f"Delete tenant {tenant_id} with all its accounts and messages?", force=force)
    if not on_store(settings, work):
        raise Failure(f"Tenant {tenant_id!r} could not be deleted.")
    return show.document({"ok": True}) if as_json else click.echo(f"Deleted tenant {tenant_id}.")


@click.command()
@show.json_option
@pass_place
def info(place: Place, as_json: bool) -> None:
    """Show the tenant; its secrets are never shown."""

    async def work(_: Store, tenant: Tenant) -> Tenant:
        return tenant

    _show(place.run(work), as_json=as_json)


async def _refuse_taken(store: Store, instance: Instance, tenant_id: str) -> None:
    if await store.directory.tenant(tenant_id) is not None:
        raise Conflict(
            f"There is a tenant {tenant_id!r} already.\n"
            f"Change it with: mail-proxy {instance.name} tenants update {tenant_id}"
        )


async def _all(store: Store, *, active_only: bool) -> AsyncIterator[Tenant]:
    after: str | None = None
    while page := await store.directory.tenants(active_only=active_only, after=after, limit=PAGE):
        for tenant in page:
            yield tenant
        after = page[-1].id


def _show(tenant: Tenant, *, as_json: bool) -> None:
    if as_json:
        return show.document(shapes.tenant(tenant))
    limits = json.loads(tenant.rate_limits) if tenant.rate_limits else {}
    return show.details(
        {
            "ID": tenant.id,
            "Name": tenant.name,
            "Active": tenant.active,
            "Base URL": tenant.client_base_url,
            "Sync path": tenant.client_sync_path,
            "Attachment path": tenant.client_attachment_path,
            "Login there": tenant.client_auth.method,
            "Switched off": tenant.switched_off,
            "Switched off since": show.moment(tenant.switched_off_at),
            "Calls are signed": bool(tenant.webhook_secrets),
            "Messages an hour": limits.get("hourly"),
            "Messages a day": limits.get("daily"),
            "Created": show.moment(tenant.created_at),
            "Changed": show.moment(tenant.updated_at),
        }
    )
