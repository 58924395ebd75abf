"""NAME TENANT accounts …: the SMTP servers a tenant sends through."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import click

from mailproxy import shapes, written
from mailproxy.cli import ask, show
from mailproxy.cli.account_options import account_options, given_of
from mailproxy.cli.exits import Failure
from mailproxy.cli.names import ACCOUNT
from mailproxy.cli.place import Place, pass_place, required
from mailproxy.errors import Conflict, NotFound
from mailproxy.model import Instant, TenantPk
from mailproxy.records import AccountView, AccountWrite, Tenant
from mailproxy.store import Store

PAGE = 500


@click.group()
def accounts() -> None:
    """Add, list, show, change, reset and delete SMTP accounts."""


@accounts.command("list")
@show.json_option
@pass_place
def list_accounts(place: Place, as_json: bool) -> None:
    """List the accounts."""

    async def work(store: Store, tenant: Tenant) -> list[AccountView]:
        return [view async for view in _all(store, tenant.pk)]

    found = place.run(work)
    if as_json:
        return show.document([shapes.account(view) for view in found])
    if not found:
        here = f"mail-proxy {place.instance.name} {place.tenant}"
        return click.echo(
            f"No accounts yet. Add one with:\n  {here} accounts add main --host smtp.example.com"
        )
    columns = [
        show.Column("ID"),
        show.Column("Server", cut=True),
        show.Column("User", cut=True),
        show.Column("TLS"),
        show.Column("State"),
    ]
    return show.table(columns, (_row(view) for view in found))


@accounts.command("show")
@click.argument("account_id", metavar="ID", type=ACCOUNT)
@show.json_option
@pass_place
def show_account(place: Place, account_id: str, as_json: bool) -> None:
    """Show an account with its condition and limits; never its password."""

    async def work(store: Store, tenant: Tenant) -> AccountView:
        return await _existing(store, tenant, account_id, place)

    view = place.run(work)
    if as_json:
        return show.document(shapes.account(view))
    return show.details(_details(view))


def _free(ctx: click.Context, _: click.Parameter, account_id: str) -> str:
    """Says that an id is taken before anything else is asked."""
    place = ctx.find_object(Place)
    if place is not None and ask.interactive() and not ctx.resilient_parsing:

        async def work(store: Store, tenant: Tenant) -> None:
            await _refuse_taken(store, tenant, account_id, place)

        required(place.instance)
        place.run(work)
    return account_id


@accounts.command("add")
@click.argument("account_id", metavar="ID", cls=ask.AskedArgument, type=ACCOUNT, callback=_free)
@ask.defaults_option
@account_options(adding=True)
@show.json_option
@pass_place
def add(place: Place, /, account_id: str, as_json: bool, defaults: bool, **options: Any) -> None:
    """Add an SMTP account; its password is stored encrypted."""
    wanted = AccountWrite(id=account_id, **given_of(options))
    _require_user(wanted)

    async def work(store: Store, tenant: Tenant) -> AccountView:
        await _refuse_taken(store, tenant, account_id, place)
        await store.directory.put_account(tenant.pk, wanted)
        return await _existing(store, tenant, account_id, place)

    view = place.run(work)
    if as_json:
        return show.document(shapes.account(view))
    click.echo(f"Added account {account_id}: {_server(view)}, TLS {_tls(view)}.")
    if not wanted.user:
        click.echo("It does not log in: there is no user.")
    click.echo("Next:")
    return show.commands(
        (f"mail-proxy {place.instance.name} {place.tenant} send hello.eml", "send a first message through it")
    )


@accounts.command("update")
@click.argument("account_id", metavar="ID", type=ACCOUNT)
@account_options(adding=False)
@show.json_option
@pass_place
def update(place: Place, /, account_id: str, as_json: bool, **options: Any) -> None:
    """Change what is given of an account, nothing else, and switch it on."""
    given = given_of(options)
    if not given:
        raise click.UsageError("Nothing to change: give at least one option.")

    async def work(store: Store, tenant: Tenant) -> AccountView:
        view = await _existing(store, tenant, account_id, place)
        changed = replace(written.account(view), **given)
        if "host" in given:
            changed = replace(changed, host_set_by_tenant=False)
        _require_user(changed)
        await store.directory.put_account(tenant.pk, changed)
        await store.wakeups.announce("queue")
        return await _existing(store, tenant, account_id, place)

    view = place.run(work)
    return show.document(shapes.account(view)) if as_json else show.details(_details(view))


@accounts.command("reset")
@click.argument("account_id", metavar="ID", type=ACCOUNT)
@show.json_option
@pass_place
def reset(place: Place, account_id: str, as_json: bool) -> None:
    """Switch an account on again that rests because of failures."""

    async def work(store: Store, tenant: Tenant) -> None:
        await _existing(store, tenant, account_id, place)
        await store.directory.reset_account(tenant.pk, account_id)
        await store.wakeups.announce("queue")

    place.run(work)
    return show.document({"ok": True}) if as_json else click.echo(f"Account {account_id} is switched on.")


@accounts.command("delete")
@click.argument("account_id", metavar="ID", type=ACCOUNT)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@show.json_option
@pass_place
def delete(place: Place, account_id: str, force: bool, as_json: bool) -> None:
    """Delete an account with its messages."""

    async def find(store: Store, tenant: Tenant) -> None:
        await _existing(store, tenant, account_id, place)

    async def work(store: Store, tenant: Tenant) -> bool:
        return await store.directory.delete_account(tenant.pk, account_id)

    place.run(find)
    ask.sure(f"Delete account {account_id} with its messages?", force=force)
    if not place.run(work):
        raise Failure(f"Account {account_id!r} is gone already.")
    return show.document({"ok": True}) if as_json else click.echo(f"Deleted account {account_id}.")


def _require_user(wanted: AccountWrite) -> None:
    if wanted.password is not None and not wanted.user:
        raise click.UsageError("A password is given but no user: add --user.")


async def _refuse_taken(store: Store, tenant: Tenant, account_id: str, place: Place) -> None:
    if await store.directory.account(tenant.pk, account_id) is not None:
        raise Conflict(
            f"There is an account {account_id!r} already.\n"
            f"Change it with: mail-proxy {place.instance.name} {place.tenant} accounts update {account_id}"
        )


async def _existing(store: Store, tenant: Tenant, account_id: str, place: Place) -> AccountView:
    view = await store.directory.account(tenant.pk, account_id)
    if view is None:
        raise NotFound(
            f"Tenant {tenant.id!r} has no account {account_id!r}.\n"
            f"Its accounts: mail-proxy {place.instance.name} {tenant.id} accounts list"
        )
    return view


async def _all(store: Store, tenant: TenantPk) -> AsyncIterator[AccountView]:
    after: str | None = None
    while page := await store.directory.accounts(tenant, after=after, limit=PAGE):
        for view in page:
            yield view
        after = page[-1].account.id


def _row(view: AccountView) -> tuple[object, ...]:
    return (view.account.id, _server(view), view.account.user, _tls(view), view.condition)


def _details(view: AccountView) -> dict[str, object]:
    account = view.account
    return {
        "ID": account.id,
        "Server": _server(view),
        "TLS": _tls(view),
        "User": account.user,
        "Password": "***" if view.password_set else None,
        "Messages a minute": view.limit_per_minute,
        "Messages an hour": view.limit_per_hour,
        "Messages a day": view.limit_per_day,
        "Above the limit": account.limit_behavior,
        "Connection age": f"{account.ttl:.0f} s",
        "Unknown outcome": account.on_unknown_outcome,
        "State": view.condition,
        **condition(view, time.time()),
        "Created": show.moment(view.created_at),
        "Changed": show.moment(view.updated_at),
    }


def condition(view: AccountView, now: Instant) -> dict[str, object]:
    """Why an account rests, since when and until when."""
    return {
        "Because": ": ".join(part for part in (view.reason, view.cause) if part) or None,
        "Since": show.moment_beside(view.since, now),
        "Next try": show.moment_beside(view.next_try, now),
    }


def _server(view: AccountView) -> str:
    host = f"[{view.account.host}]" if ":" in view.account.host else view.account.host
    return f"{host}:{view.account.port}"


def _tls(view: AccountView) -> str:
    return {None: "if offered", True: "yes", False: "no"}[view.account.use_tls]
