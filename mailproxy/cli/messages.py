"""NAME TENANT messages …: what has become of a tenant's messages."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from mailproxy import shapes
from mailproxy.cli import ask, show
from mailproxy.cli.accounts import condition
from mailproxy.cli.exits import Exit
from mailproxy.cli.explanation import Words, explain
from mailproxy.cli.names import ACCOUNT
from mailproxy.cli.place import Place, pass_place
from mailproxy.errors import Conflict, NotFound
from mailproxy.evidence import Evidence
from mailproxy.model import AccountCondition, MessageId, Priority, Resolution, State, public_pk
from mailproxy.records import AccountView, Deleted, EventView, MessageFilter, MessageView, Tenant
from mailproxy.store import Store

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
    """List the newest messages; with --all every one, the oldest first."""
    wanted = MessageFilter(
        account_id=account, state=None if status == "all" else State(status), newest_first=not unlimited
    )
    most = None if unlimited else limit
    if as_csv and as_json:
        raise click.UsageError("--csv and --json are both given: keep one of them.")

    async def work(store: Store, tenant: Tenant) -> bool:
        pages = _Pages(await store.fleet.instance(), as_csv=as_csv, as_json=as_json)
        return await _list(store, tenant, wanted, most, pages)

    if place.run(work):
        show.note(f"There are more than {limit}: --limit or --all shows them, --status narrows the choice.")


@messages.command("show")
@click.argument("message_id", metavar="ID")
@show.json_option
@pass_place
def show_message(place: Place, message_id: str, as_json: bool) -> None:
    """Show a message and all that happened to it."""

    async def work(
        store: Store, tenant: Tenant
    ) -> tuple[MessageView, list[EventView], int, AccountView | None]:
        view = await store.directory.message(tenant.pk, message_id)
        if view is None:
            raise _missing(place, message_id)
        events = await store.directory.events(tenant.pk, message_id)
        account = await store.directory.account(tenant.pk, view.account_id) if view.account_id else None
        return view, events or [], await store.fleet.instance(), account

    view, events, instance, account = place.run(work)
    if as_json:
        return show.document(
            {**shapes.message(view, instance), "events": [shapes.event(event) for event in events]}
        )
    show.details({**_details(view, instance), **_waits_for(view, account)})
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
    settings = place.instance.settings()

    async def work(store: Store, tenant: Tenant) -> Evidence | None:
        return await store.upkeep.evidence(tenant.pk, message_id)

    evidence = place.run(work)
    if evidence is None:
        raise _missing(place, message_id)
    words = Words(
        f"mail-proxy {place.instance.name}", place.tenant, settings.max_retries, 2 * settings.lease_seconds
    )
    findings = explain(evidence, words)
    if as_json:
        found = [shapes.present(asdict(one)) for one in findings]
        return show.document({"id": message_id, "status": evidence.message.state, "findings": found})
    click.echo(f"{message_id} is {evidence.message.state}.")
    return show.findings((one.text, one.remedy) for one in findings)


@messages.command("delete")
@click.argument("message_ids", metavar="ID...", nargs=-1, required=True)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@show.json_option
@pass_place
def delete(place: Place, message_ids: tuple[str, ...], force: bool, as_json: bool) -> int:
    """Delete messages; those being sent right now stay."""
    noun = "message" if len(message_ids) == 1 else "messages"
    ask.sure(f"Delete {len(message_ids)} {noun}?", force=force)

    async def work(store: Store, tenant: Tenant) -> Deleted:
        return await store.directory.delete_messages(tenant.pk, message_ids)

    found = place.run(work)
    missing = [one for one in message_ids if one not in found.removed and one not in found.being_sent]
    if as_json:
        show.document({"removed": found.removed, "not_found": missing, "being_sent": found.being_sent})
    else:
        click.echo(f"Deleted {len(found.removed)} of {len(message_ids)}.")
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
def resolve(place: Place, message_id: str, resolution: str, as_json: bool) -> None:
    """Decide about a message whose outcome is unknown."""
    settings = place.instance.settings()
    decision = Resolution(resolution)

    async def work(store: Store, tenant: Tenant) -> State | None:
        found = await store.directory.resolve(
            tenant.pk, message_id, decision, max_age=settings.message_max_age
        )
        if found is State.UNKNOWN and decision is Resolution.RETRY and not settings.test_mode:
            await store.wakeups.announce("queue")
        return found

    state = place.run(work)
    if state is None:
        raise _missing(place, message_id)
    if state is not State.UNKNOWN:
        raise Conflict(f"There is nothing in doubt about {message_id!r}: it is {state}.")
    if as_json:
        return show.document({"ok": True})
    done = {"sent": "counts as sent", "error": "counts as not sent", "retry": "will be sent again"}
    return click.echo(f"{message_id} {done[resolution]}.")


class _Pages:
    """A list of messages on its way out, in the form that was asked for."""

    def __init__(self, instance: int, *, as_csv: bool, as_json: bool) -> None:
        self._instance = instance
        self._listed = 0
        self._rows = show.Rows(COLUMNS) if not (as_csv or as_json) else None
        self._items = show.CsvRows(CSV_COLUMNS) if as_csv else show.JsonArray() if as_json else None

    def add(self, page: Sequence[MessageView]) -> None:
        self._listed += len(page)
        if self._rows is not None and page:
            self._rows.add(_row(view) for view in page)
        if isinstance(self._items, show.CsvRows):
            self._items.add({**_heads(view), **shapes.message(view, self._instance)} for view in page)
        elif self._items is not None:
            self._items.add(shapes.message(view, self._instance) for view in page)

    def end(self) -> None:
        if isinstance(self._items, show.JsonArray):
            self._items.end()
        elif self._items is None and not self._listed:
            click.echo("No messages.")


async def _list(store: Store, tenant: Tenant, wanted: MessageFilter, most: int | None, pages: _Pages) -> bool:
    """Write page after page; returns whether there are more than `most`."""
    after: MessageId | None = None
    left = most
    while True:
        size = PAGE if left is None else min(PAGE, left)
        page = await store.directory.messages(tenant.pk, wanted, after=after, limit=size + 1)
        pages.add(page[:size])
        left = None if left is None else left - len(page[:size])
        if len(page) <= size or left == 0:
            break
        after = page[size - 1].id
    pages.end()
    return len(page) > size


def _heads(view: MessageView) -> dict[str, object]:
    written = _payload(view)
    return {
        "subject": written.get("subject"),
        "from": written.get("from"),
        "to": ", ".join(written.get("to", ())),
    }


def _missing(place: Place, message_id: str) -> NotFound:
    return NotFound(
        f"Tenant {place.tenant!r} has no message {message_id!r}.\n"
        f"Its messages: mail-proxy {place.instance.name} {place.tenant} messages list"
    )


def _row(view: MessageView) -> tuple[object, ...]:
    created = (show.moment(view.created_at) or "")[:-3]
    return (view.client_id, view.account_id, view.state, _payload(view).get("subject"), created)


def _details(view: MessageView, instance: int) -> dict[str, object]:
    written = _payload(view)
    return {
        "ID": view.client_id,
        "Key": public_pk(instance, view.id),
        "Status": view.state,
        "Error": view.error,
        "Account": view.account_id,
        "Priority": Priority(view.priority).name.lower(),
        "Batch": view.batch_code,
        "From": written.get("from"),
        "To": ", ".join(written.get("to", ())) or None,
        "Cc": ", ".join(written.get("cc", ())) or None,
        "Bcc": ", ".join(written.get("bcc", ())) or None,
        "Subject": written.get("subject"),
        "Refused": ", ".join(f"{one.address} ({one.code})" for one in view.refused) or None,
        "Attempts": view.attempts,
        "Created": show.moment(view.created_at),
        "Not before": show.moment(view.deferred_until),
        "Done": show.moment(view.done_at),
        "Reported": show.moment(view.reported_at),
    }


def _waits_for(view: MessageView, account: AccountView | None) -> dict[str, object]:
    """Why a waiting message does not go out: its account rests."""
    rests = account is not None and account.condition is not AccountCondition.OK
    if account is None or not rests or view.state not in (State.PENDING, State.DEFERRED):
        return {}
    found = condition(account, time.time())
    return {"Waits for": f"its account, which is {account.condition}", **found}


def _payload(view: MessageView) -> dict[str, Any]:
    found = json.loads(view.payload) if view.payload else {}
    return found if isinstance(found, dict) else {}


def _event_row(event: EventView) -> tuple[object, ...]:
    detail = event.detail
    said = detail.error or detail.reply or detail.reason or ""
    return (show.moment(event.event_ts), event.event_type, event.reported, said)
