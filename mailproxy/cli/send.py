"""NAME TENANT send FILE.eml: queue a message that lies in a file."""

import secrets
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from mailproxy import submission
from mailproxy.api import wire, wire_messages
from mailproxy.api.refusals import Refusal
from mailproxy.cli import eml, process, show
from mailproxy.cli.ask import Checked
from mailproxy.cli.exits import Exit, Failure
from mailproxy.cli.names import ACCOUNT
from mailproxy.cli.place import Place, pass_place
from mailproxy.config import Settings
from mailproxy.errors import Conflict, NotFound
from mailproxy.intake import Intake
from mailproxy.model import MessageId, Priority, public_pk
from mailproxy.records import Tenant
from mailproxy.store import Store
from mailproxy.submission import Draft

_CONFLICTS = {
    "already_sent": "A message of this id was sent already.",
    "being_sent": "A message of this id is being sent right now.",
    "outcome_unknown": "A message of this id may have been sent already; it waits for a decision.",
}


class Level(click.ParamType[Priority]):
    name = "priority"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Priority:
        try:
            return wire.priority(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("-a", "--account", type=ACCOUNT, help="Account to send through.  [the tenant's only one]")
@click.option(
    "-p", "--priority", type=Level(), help="0 to 3, or immediate, high, medium, low.  [GMP_DEFAULT_PRIORITY]"
)
@click.option("--id", "message_id", help="The message's id for the tenant.  [a new one]")
@click.option("--batch-code", type=Checked(wire.BatchCode, "code"), help="Batch the message belongs to.")
@show.json_option
@pass_place
def send(
    place: Place,
    file: Path,
    account: str | None,
    priority: Priority | None,
    message_id: str | None,
    batch_code: str | None,
    as_json: bool,
) -> None:
    """Queue the message in FILE (RFC 5322; - is stdin).

    From, To, Cc, Bcc, Reply-To, Subject, Message-ID, the bodies, the attachments and the header fields of your
    own are taken over; Date and the fields of transport are written anew.
    """
    settings = place.instance.settings()
    fields = eml.fields_of(_octets(file)) | {"id": message_id or secrets.token_hex(8)}
    if batch_code:
        fields["batch_code"] = batch_code
    draft = _draft(fields, settings.default_priority if priority is None else priority)

    async def work(store: Store, tenant: Tenant) -> tuple[str, str]:
        account_id = await _account(store, tenant, account, place)
        addressed = replace(draft, tenant_id=tenant.id, account_id=account_id)
        queued = await _submit(store, tenant, settings, addressed)
        return account_id, public_pk(await store.fleet.instance(), queued)

    account_id, pk = place.run(work)
    _report(place, draft.client_id, pk, account_id, as_json=as_json)


def _octets(file: Path) -> bytes:
    octets = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    if not octets.strip():
        raise click.UsageError(f"{'stdin' if str(file) == '-' else file} is empty: give a message file.")
    return octets


def _draft(fields: dict[str, Any], priority: Priority) -> Draft:
    """The message checked as the API checks it."""
    try:
        (checked,) = wire_messages.decode({"messages": [fields]}).messages
    except Refusal as refusal:
        raise Failure(f"The message is refused: {refusal.detail}", Exit.REFUSED) from refusal
    draft = wire_messages.draft(checked, priority)
    if draft.faults:
        found = "\n".join(f"  {fault.field}: {fault.detail or 'is missing'}" for fault in draft.faults)
        raise Failure(f"The message is refused:\n{found}", Exit.REFUSED)
    return draft


async def _account(store: Store, tenant: Tenant, wanted: str | None, place: Place) -> str:
    accounts = await store.directory.account_ids(tenant.pk)
    here = f"mail-proxy {place.instance.name} {place.tenant}"
    if not accounts:
        raise NotFound(
            f"Tenant {place.tenant!r} has no account to send through.\n"
            f"Add one with: {here} accounts add main --host smtp.example.com"
        )
    if wanted is None and len(accounts) > 1:
        raise click.UsageError(f"Choose an account with --account: {', '.join(sorted(accounts))}")
    chosen = next(iter(accounts)) if wanted is None else wanted
    if chosen not in accounts:
        raise NotFound(
            f"Tenant {place.tenant!r} has no account {chosen!r}.\nIts accounts: {here} accounts list"
        )
    return chosen


async def _submit(store: Store, tenant: Tenant, settings: Settings, draft: Draft) -> MessageId:
    done = await submission.submit(store, Intake(settings, store.queue), settings, {tenant.pk: [draft]})
    for rejected in done.rejected:
        text = _CONFLICTS.get(rejected.code, f"The message was not queued: {rejected.reason}.")
        raise Conflict(text, code=rejected.code)
    (accepted,) = done.accepted
    return accepted.message_id


def _report(place: Place, message_id: str, pk: str, account_id: str, *, as_json: bool) -> None:
    if as_json:
        return show.document({"ok": True, "id": message_id, "pk": pk, "account_id": account_id})
    show.details({"Queued": message_id, "Key": pk, "Account": account_id})
    here = f"mail-proxy {place.instance.name}"
    if process.running(place.instance) is None:
        show.note(
            f"{place.instance.name} is not running here; start it with: mail-proxy start {place.instance.name} -b"
        )
    return click.echo(f"See what becomes of it: {here} {place.tenant} messages show {message_id}")
