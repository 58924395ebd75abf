"""NAME TENANT accounts …: the SMTP servers a tenant sends through."""

import time
from typing import Any

import click

from mailproxy import errors
from mailproxy.cli import ask, show
from mailproxy.cli.account_options import account_options, given_of
from mailproxy.cli.names import ACCOUNT
from mailproxy.cli.place import Place, pass_place, required
from mailproxy.client import Account, AsyncMailProxyClient, NotFound
from mailproxy.model import AccountCondition, Instant


@click.group()
def accounts() -> None:
    """Add, list, show, change, reset and delete SMTP accounts."""


@accounts.command("list")
@show.json_option
@pass_place
def list_accounts(place: Place, as_json: bool) -> None:
    """List the accounts."""
    found = place.do(lambda client: client.accounts.list())
    if as_json:
        return show.document([account.raw for account in found])
    if not found:
        return click.echo(
            f"No accounts yet. Add one with:\n  {place.words} accounts add main --host smtp.example.com"
        )
    columns = [
        show.Column("ID"),
        show.Column("Server", cut=True),
        show.Column("User", cut=True),
        show.Column("TLS"),
        show.Column("State"),
    ]
    return show.table(columns, (_row(account) for account in found))


@accounts.command("show")
@click.argument("account_id", metavar="ID", type=ACCOUNT)
@show.json_option
@pass_place
def show_account(place: Place, account_id: str, as_json: bool) -> None:
    """Show an account with its condition and limits; never its password."""
    _show(place, place.do(lambda client: _existing(client, place, account_id)), as_json=as_json)


def _free(ctx: click.Context, _: click.Parameter, account_id: str) -> str:
    """Says that an id is taken before anything else is asked."""
    place = ctx.find_object(Place)
    if place is not None and ask.interactive() and not ctx.resilient_parsing:
        required(place.server)
        place.do(lambda client: _refuse_taken(client, place, account_id))
    return account_id


@accounts.command("add")
@click.argument("account_id", metavar="ID", cls=ask.AskedArgument, type=ACCOUNT, callback=_free)
@ask.defaults_option
@account_options(adding=True)
@show.json_option
@pass_place
def add(place: Place, /, account_id: str, as_json: bool, defaults: bool, **options: Any) -> None:
    """Add an SMTP account; its password is stored encrypted."""
    given = given_of(options)
    _require_user(given)

    async def work(client: AsyncMailProxyClient) -> Account:
        await _refuse_taken(client, place, account_id)
        await client.accounts.add(account_id, **given)
        return await client.accounts.get(account_id)

    account = place.do(work)
    if as_json:
        return _show(place, account, as_json=True)
    click.echo(f"Added account {account_id}: {_server(account)}, TLS {_tls(account)}.")
    if not account.user:
        click.echo("It does not log in: there is no user.")
    click.echo("Next:")
    return show.commands((f"{place.words} send hello.eml", "send a first message through it"))


@accounts.command("update")
@click.argument("account_id", metavar="ID", type=ACCOUNT)
@account_options(adding=False)
@show.json_option
@pass_place
def update(place: Place, /, account_id: str, as_json: bool, **options: Any) -> None:
    """Change what is given of an account, and switch it on."""
    given = given_of(options)
    if not given:
        raise click.UsageError("Nothing to change: give at least one option.")

    async def work(client: AsyncMailProxyClient) -> Account:
        account = await _existing(client, place, account_id)
        _require_user({"user": account.user} | given)
        await client.accounts.update(account_id, **given)
        await client.accounts.reset(account_id)
        return await client.accounts.get(account_id)

    _show(place, place.do(work), as_json=as_json)


@accounts.command("reset")
@click.argument("account_id", metavar="ID", type=ACCOUNT)
@show.json_option
@pass_place
def reset(place: Place, account_id: str, as_json: bool) -> None:
    """Switch an account on again that rests because of failures."""

    async def work(client: AsyncMailProxyClient) -> None:
        await _existing(client, place, account_id)
        await client.accounts.reset(account_id)

    place.do(work)
    return show.document({"ok": True}) if as_json else click.echo(f"Account {account_id} is switched on.")


@accounts.command("delete")
@click.argument("account_id", metavar="ID", type=ACCOUNT)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@show.json_option
@pass_place
def delete(place: Place, account_id: str, force: bool, as_json: bool) -> None:
    """Delete an account with its messages."""
    place.do(lambda client: _existing(client, place, account_id))
    ask.sure(f"Delete account {account_id} with its messages?", force=force)
    place.do(lambda client: client.accounts.delete(account_id))
    return show.document({"ok": True}) if as_json else click.echo(f"Deleted account {account_id}.")


def _require_user(wanted: dict[str, Any]) -> None:
    if wanted.get("password") is not None and not wanted.get("user"):
        raise click.UsageError("A password is given but no user: add --user.")


async def _refuse_taken(client: AsyncMailProxyClient, place: Place, account_id: str) -> None:
    try:
        await client.accounts.get(account_id)
    except NotFound:
        return
    raise errors.Conflict(
        f"There is an account {account_id!r} already.\n"
        f"Change it with: {place.words} accounts update {account_id}"
    )


async def _existing(client: AsyncMailProxyClient, place: Place, account_id: str) -> Account:
    try:
        return await client.accounts.get(account_id)
    except NotFound as error:
        raise errors.NotFound(
            f"Tenant {place.tenant!r} has no account {account_id!r}.\n"
            f"Its accounts: {place.words} accounts list"
        ) from error


def _show(place: Place, account: Account, *, as_json: bool) -> None:
    return show.document(show.told(account.raw)) if as_json else show.details(_details(place, account))


def _row(account: Account) -> tuple[object, ...]:
    return (account.id, _server(account), account.user, _tls(account), account.state)


def _details(place: Place, account: Account) -> dict[str, object]:
    return {
        "ID": account.id,
        "Server": _server(account),
        "TLS": _tls(account),
        "User": account.user,
        "Password": "***" if account.password_set else None,
        "Messages a minute": account.limit_per_minute,
        "Messages an hour": account.limit_per_hour,
        "Messages a day": account.limit_per_day,
        "Above the limit": account.limit_behavior,
        "Connection age": f"{account.ttl} s",
        "Unknown outcome": account.on_unknown_outcome,
        **_mailbox(account, time.time()),
        "State": account.state,
        **condition(account, time.time()),
        "What helps": _remedy(place, account),
        "Created": show.moment(account.created_at),
        "Changed": show.moment(account.updated_at),
    }


def _mailbox(account: Account, now: Instant) -> dict[str, object]:
    health = account.mailbox
    return {
        "Certified (PEC)": (account.pec_address or "yes") if account.is_pec_account else None,
        "IMAP": f"{account.imap_host}:{account.imap_port}" if account.imap_host else None,
        "IMAP user": account.imap_user,
        "IMAP password": "***" if account.imap_password_set else None,
        "IMAP folder": account.imap_folder,
        "Mailbox": health.get("state"),
        "Last read": show.moment_beside(health.get("checked_ts"), now),
        "Not read because": health.get("failure"),
        "Failing since": show.moment_beside(health.get("failing_since"), now),
        "Set aside": health.get("quarantined") or None,
    }


def _remedy(place: Place, account: Account) -> str | None:
    """The command that uses an account again."""
    reset = f"{place.words} accounts reset {account.id}"
    if account.state == AccountCondition.BREAKER_OPEN:
        return f"{place.words} accounts update {account.id} … to correct it, or as it is: {reset}"
    return f"it is tried again by itself, or now: {reset}" if account.state != AccountCondition.OK else None


def condition(account: Account, now: Instant) -> dict[str, object]:
    """Why an account rests, since when and until when."""
    return {
        "Because": ": ".join(part for part in (account.state_reason, account.state_cause) if part) or None,
        "Since": show.moment_beside(account.state_since, now),
        "Next try": show.moment_beside(account.next_try, now),
    }


def _server(account: Account) -> str:
    host = f"[{account.host}]" if ":" in account.host else account.host
    return f"{host}:{account.port}"


def _tls(account: Account) -> str:
    return {None: "if offered", True: "yes", False: "no"}[account.use_tls]
