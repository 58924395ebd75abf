"""NAME TENANT accounts …: the SMTP servers a tenant sends through."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import click
from pydantic import Field

from mailproxy import shapes
from mailproxy.api import wire
from mailproxy.cli import ask, show
from mailproxy.cli.ask import Checked, asked
from mailproxy.cli.exits import Failure
from mailproxy.cli.names import ACCOUNT
from mailproxy.cli.place import Place, pass_place, required
from mailproxy.errors import Conflict, NotFound
from mailproxy.model import Instant, OnUnknownOutcome, TenantPk
from mailproxy.records import AccountView, AccountWrite, Tenant
from mailproxy.store import Store

PAGE = 500
SMTP_PORT = 587
LIMIT = Checked(wire.Limit, "count")


@click.group()
def accounts() -> None:
    """Add, list, show and delete SMTP accounts."""


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
@asked(
    "-h",
    "--host",
    required=True,
    type=Checked(wire.Host, "host"),
    prompt="SMTP server",
    note="Name or address of the SMTP server.",
)
@asked(
    "-p",
    "--port",
    type=click.IntRange(1, 65535),
    default=SMTP_PORT,
    show_default=True,
    prompt="Port",
    note="Its port.",
)
@asked(
    "-u",
    "--user",
    type=Checked(wire.Line, "text"),
    prompt="User (Enter for no login)",
    note="User to log in as.",
)
@click.option("--password-file", metavar="FILE", help="File that holds the password; - for stdin.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@asked(
    "--password",
    hide_input=True,
    when=lambda given: given.get("user") and not (given.get("password_file") or given.get("password_stdin")),
    prompt="Password",
    note="Password; others can see it, so better use the prompt, --password-stdin or --password-file.",
)
@asked(
    "--tls/--no-tls",
    default=None,
    prompt="TLS: yes, no (Enter: always on 465, else if the server offers it)",
    note="Insist on TLS, or never use it.  [always on 465, else if the server offers it]",
)
@click.option("--tls-verify/--no-tls-verify", default=None, help="Check the server's certificate.  [check]")
@click.option(
    "--tls-ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the certificates to trust, in PEM.",
)
@click.option(
    "--batch-size",
    type=Checked(Annotated[int, Field(ge=1, le=10000)], "count"),
    help="Messages to claim at once.",
)
@click.option(
    "--ttl",
    type=Checked(Annotated[int, Field(ge=1, le=86400)], "seconds"),
    help="How long a connection is used.  [300]",
)
@asked(
    "--limit-minute",
    type=LIMIT,
    prompt="Messages a minute (Enter for no limit)",
    note="Most in any minute; 0 for no limit.",
)
@asked(
    "--limit-hour",
    type=LIMIT,
    prompt="Messages an hour (Enter for no limit)",
    note="Most in any hour; 0 for no limit.",
)
@asked(
    "--limit-day",
    type=LIMIT,
    prompt="Messages a day (Enter for no limit)",
    note="Most in any day; 0 for no limit.",
)
@click.option(
    "--limit-behavior",
    type=click.Choice(["defer", "reject"]),
    help="What happens to messages above a limit.  [defer]",
)
@click.option(
    "--max-retries", type=click.IntRange(0, 100), help="Retries after temporary failures.  [the server's]"
)
@click.option(
    "--on-unknown",
    type=click.Choice([policy.value for policy in OnUnknownOutcome]),
    help="Messages that may or may not have gone out: send again, or hold for a decision.  [retry]",
)
@show.json_option
@pass_place
def add(place: Place, /, account_id: str, as_json: bool, defaults: bool, **options: Any) -> None:
    """Add an SMTP account; its password is stored encrypted."""
    wanted = _written(account_id, options)

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


def _written(account_id: str, options: dict[str, Any]) -> AccountWrite:
    if options["password_stdin"] and options["password_file"]:
        raise click.UsageError("--password-stdin and --password-file are both given: keep one of them.")
    file = "-" if options["password_stdin"] else options["password_file"]
    password = ask.secret("password", options["password"], file)
    if password is not None and not options["user"]:
        raise click.UsageError("A password is given but no user: add --user.")
    ca = options["tls_ca"]
    chosen = {
        "batch_size": options["batch_size"],
        "ttl": options["ttl"],
        "tls_verify": options["tls_verify"],
        "tls_ca": ca.read_text(encoding="ascii", errors="replace") if ca else None,
        "limit_per_minute": options["limit_minute"],
        "limit_per_hour": options["limit_hour"],
        "limit_per_day": options["limit_day"],
        "limit_behavior": options["limit_behavior"],
        "max_retries": options["max_retries"],
        "on_unknown_outcome": OnUnknownOutcome(options["on_unknown"]) if options["on_unknown"] else None,
    }
    return AccountWrite(
        id=account_id,
        host=options["host"],
        port=options["port"],
        user=options["user"],
        password=password,
        use_tls=options["tls"],
        **{name: value for name, value in chosen.items() if value is not None},
    )


async def _refuse_taken(store: Store, tenant: Tenant, account_id: str, place: Place) -> None:
    if await store.directory.account(tenant.pk, account_id) is not None:
        raise Conflict(
            f"There is an account {account_id!r} already.\n"
            f"Delete it first: mail-proxy {place.instance.name} {place.tenant} accounts delete {account_id}"
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
