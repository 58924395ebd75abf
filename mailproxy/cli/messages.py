"""NAME TENANT messages …: what has become of a tenant's messages."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from mailproxy import errors, shapes
from mailproxy.cli import ask, remedies, show
from mailproxy.cli.accounts import condition
from mailproxy.cli.exits import Exit
from mailproxy.cli.names import ACCOUNT
from mailproxy.cli.place import Place, pass_place
from mailproxy.client import (
    Account,
    AsyncMailProxyClient,
    Event,
    Explanation,
    Filters,
    Finding,
    Message,
    NotFound,
    Receipt,
    Removed,
)
from mailproxy.model import AccountCondition, Priority, Resolution, State

PAGE = 500
CSV_COLUMNS = (
    *("id", "pk", "account_id", "status", "priority", "batch_code", "subject", "from", "to", "attempts"),
    *("created_at", "deferred_ts", "sent_ts", "error_ts", "error", "reported_ts"),
)
COLUMNS = (
    show.Column("ID"),
    show.Column("Account"),
    show.Column("Status"),
    show.Column("Subject", cut=True),
    show.Column("Created"),
)


@click.group()
def messages() -> None:
    """List, show, explain, delete and resolve messages."""


@messages.command("list")
@click.option("-a", "--account", type=ACCOUNT, help="Only those of this account.")
@click.option(
    "-s",
    "--status",
    type=click.Choice([*(state.value for state in State), "all"]),
    metavar="STATUS",
    default="all",
    help=f"Only those that are {', '.join(State)}.  [all]",
)
@click.option(
    "-l", "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Most to list."
)
@click.option("--all", "unlimited", is_flag=True, help="List them all.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@show.json_option
@pass_place
def list_messages(
    place: Place,
    account: str | None,
    status: str,
    limit: int,
    unlimited: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """List the newest messages, or with --all every one, oldest first."""
    if as_csv and as_json:
        raise click.UsageError("--csv and --json are both given: keep one of them.")
    wanted: Filters = {"newest_first": not unlimited}
    if account:
        wanted["account_id"] = account
    if status != "all":
        wanted["status"] = status

    async def work(client: AsyncMailProxyClient) -> bool:
        return await _list(
            client, wanted, None if unlimited else limit, _Pages(as_csv=as_csv, as_json=as_json)
        )

    if place.do(work):
        show.note(f"There are more than {limit}: --limit or --all shows them, --status narrows the choice.")


@messages.command("show")
@click.argument("message_id", metavar="ID")
@show.json_option
@pass_place
def show_message(place: Place, message_id: str, as_json: bool) -> None:
    """Show a message and all that happened to it."""

    async def work(client: AsyncMailProxyClient) -> tuple[Message, list[Event], Account | None]:
        try:
            message = await client.messages.get(message_id)
        except NotFound as error:
            raise _missing(place, message_id) from error
        account = await client.accounts.get(message.account_id) if message.account_id else None
        return message, await client.messages.events(message_id), account

    message, events, account = place.do(work)
    if as_json:
        return show.document({**show.told(message.raw), "events": [event.raw for event in events]})
    show.details({**_details(message), **_waits_for(message, account)})
    if events:
        click.echo()
        columns = (
            show.Column("When"),
            show.Column("What"),
            show.Column("Reported"),
            show.Column("Detail", cut=True),
        )
        show.table(columns, (_event_row(event) for event in events))
    return None


@messages.command("explain")
@click.argument("message_id", metavar="ID")
@show.json_option
@pass_place
def explain_message(place: Place, message_id: str, as_json: bool) -> None:
    """Say why a message has not gone, and what to do about it."""

    async def work(client: AsyncMailProxyClient) -> Explanation:
        try:
            return await client.messages.explain(message_id)
        except NotFound as error:
            raise _missing(place, message_id) from error

    found = place.do(work)
    if as_json:
        findings = [_finding(one, place) for one in found.findings]
        return show.document({"id": message_id, "status": found.status, "findings": findings})
    click.echo(f"{message_id} is {found.status}.")
    return show.findings((one.text, remedies.said(one, place)) for one in found.findings)


@messages.command("receipts")
@click.argument("message_id", metavar="ID")
@click.option(
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write each receipt, octet for octet, into this folder.",
)
@show.json_option
@pass_place
def receipts(place: Place, message_id: str, save: Path | None, as_json: bool) -> None:
    """List the receipts of certified mail (PEC), or save them."""

    async def work(client: AsyncMailProxyClient) -> list[tuple[Receipt, bytes | None]]:
        try:
            found = await client.messages.receipts(message_id)
            return [
                (one, await client.messages.receipt(message_id, one.n) if save else None) for one in found
            ]
        except NotFound as error:
            raise _missing(place, message_id) from error

    found = place.do(work)
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
        for one, raw in found:
            (save / f"{one.n:03}-{one.type}.eml").write_bytes(raw or b"")
        show.note(f"Saved {len(found)} in {save}.")
    if as_json:
        return show.document([one.raw for one, _ in found])
    if not found:
        return click.echo("No receipts.")
    columns = ("N", "When", "What", "About", "Signature", "Outcome")
    return show.table([show.Column(name) for name in columns], (_receipt_row(one) for one, _ in found))


@messages.command("delete")
@click.argument("message_ids", metavar="ID...", nargs=-1, required=True)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@show.json_option
@pass_place
def delete(place: Place, message_ids: tuple[str, ...], force: bool, as_json: bool) -> int:
    """Delete messages; those being sent right now stay."""
    noun = "message" if len(message_ids) == 1 else "messages"
    ask.sure(f"Delete {len(message_ids)} {noun}?", force=force)

    async def work(client: AsyncMailProxyClient) -> Removed:
        return await client.messages.delete(message_ids)

    found = place.do(work)
    missing = list(found.not_found)
    removed = [one for one in dict.fromkeys(message_ids) if one not in (*missing, *found.being_sent)]
    if as_json:
        show.document({"removed": removed, "not_found": missing, "being_sent": found.being_sent})
    else:
        click.echo(f"Deleted {found.removed} of {len(message_ids)}.")
    for one in missing:
        show.note(f"Error: there is no message {one!r}.")
    for one in found.being_sent:
        show.note(f"Error: {one!r} is being sent right now.")
    if found.being_sent:
        return Exit.CONFLICT
    return Exit.NOT_FOUND if missing else Exit.OK


@messages.command("resolve")
@click.argument("message_id", metavar="ID")
@click.option(
    "--as",
    "resolution",
    type=click.Choice([one.value for one in Resolution]),
    required=True,
    help="It was sent, it was not (error), or send it again at the risk of a second delivery.",
)
@show.json_option
@pass_place
def resolve(
    place: Place, message_id: str, resolution: Literal["sent", "retry", "error"], as_json: bool
) -> None:
    """Decide about a message whose outcome is unknown."""

    async def work(client: AsyncMailProxyClient) -> None:
        try:
            await client.messages.resolve(message_id, resolution)
        except NotFound as error:
            raise _missing(place, message_id) from error

    place.do(work)
    if as_json:
        return show.document({"ok": True})
    done = {"sent": "counts as sent", "error": "counts as not sent", "retry": "will be sent again"}
    return click.echo(f"{message_id} {done[resolution]}.")


def _finding(found: Finding, place: Place) -> dict[str, object]:
    told = {"code": found.code, "text": found.text, "blocks": found.blocks}
    return told | shapes.present({"remedy": remedies.said(found, place), "until": found.until})


class _Pages:
    """A list of messages on its way out, in the form that was asked for."""

    def __init__(self, *, as_csv: bool, as_json: bool) -> None:
        self._listed = 0
        self._rows = show.Rows(COLUMNS) if not (as_csv or as_json) else None
        self._items = show.CsvRows(CSV_COLUMNS) if as_csv else show.JsonArray() if as_json else None

    def add(self, page: Sequence[Message]) -> None:
        self._listed += len(page)
        if self._rows is not None and page:
            self._rows.add(_row(message) for message in page)
        if isinstance(self._items, show.CsvRows):
            self._items.add({**_heads(message), **message.raw} for message in page)
        elif self._items is not None:
            self._items.add(message.raw for message in page)

    def end(self) -> None:
        if isinstance(self._items, show.JsonArray):
            self._items.end()
        elif self._items is None and not self._listed:
            click.echo("No messages.")


async def _list(client: AsyncMailProxyClient, wanted: Filters, most: int | None, pages: _Pages) -> bool:
    """Write page after page; returns whether there are more than `most`."""
    cursor: str | None = None
    left = most
    while True:
        size = PAGE if left is None else min(PAGE, left)
        page = await client.messages.page(cursor=cursor, limit=size, **wanted)
        pages.add(page.items)
        left = None if left is None else left - len(page.items)
        cursor = page.cursor
        if cursor is None or left == 0:
            break
    pages.end()
    return cursor is not None


def _heads(message: Message) -> dict[str, object]:
    written = message.message
    return {
        "subject": written.get("subject"),
        "from": written.get("from"),
        "to": ", ".join(written.get("to", ())),
    }


def _missing(place: Place, message_id: str) -> errors.NotFound:
    return errors.NotFound(
        f"Tenant {place.tenant!r} has no message {message_id!r}.\nIts messages: {place.words} messages list"
    )


def _row(message: Message) -> tuple[object, ...]:
    created = (show.moment(message.created_at) or "")[:-3]
    return (message.id, message.account_id, message.status, message.message.get("subject"), created)


def _details(message: Message) -> dict[str, object]:
    written = message.message
    return {
        "ID": message.id,
        "Key": message.pk,
        "Status": message.status,
        "Error": message.error,
        "Account": message.account_id,
        "Priority": Priority(message.priority).name.lower(),
        "Batch": message.batch_code,
        "From": written.get("from"),
        "To": ", ".join(written.get("to", ())) or None,
        "Cc": ", ".join(written.get("cc", ())) or None,
        "Bcc": ", ".join(written.get("bcc", ())) or None,
        "Subject": written.get("subject"),
        "Refused": ", ".join(f"{one.address} ({one.code})" for one in message.refused_recipients) or None,
        "Came back": ", ".join(
            f"{one.address} ({one.type}, {one.code})" for one in message.bounced_recipients
        )
        or None,
        "Attempts": message.attempts,
        "Created": show.moment(message.created_at),
        "Not before": show.moment(message.deferred_ts),
        "Done": show.moment(message.sent_ts or message.error_ts),
        "Reported": show.moment(message.reported_ts),
    }


def _waits_for(message: Message, account: Account | None) -> dict[str, object]:
    """Why a waiting message does not go out: its account rests."""
    rests = account is not None and account.state != AccountCondition.OK
    if account is None or not rests or message.status not in (State.PENDING, State.DEFERRED):
        return {}
    return {"Waits for": f"its account, which is {account.state}", **condition(account, time.time())}


_SAYING = ("error", "reply", "reason", "bounce_reason", "recipient")


def _receipt_row(receipt: Receipt) -> tuple[object, ...]:
    when = show.moment(receipt.pec_ts or receipt.received_ts)
    about = ", ".join(receipt.recipients)
    return (receipt.n, when, receipt.type, about, receipt.signature, receipt.outcome)


def _event_row(event: Event) -> tuple[object, ...]:
    detail = event.event_data
    said = next((detail[word] for word in _SAYING if detail.get(word)), "")
    return (show.moment(event.event_ts), event.event_type, event.reported, said)
