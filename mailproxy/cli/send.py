"""NAME TENANT send FILE.eml: queue a message that lies in a file."""

import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from mailproxy.api import wire, wire_messages
from mailproxy.api.refusals import Refusal
from mailproxy.cli import eml, show
from mailproxy.cli.ask import Checked
from mailproxy.cli.exits import Exit, Failure
from mailproxy.cli.names import ACCOUNT
from mailproxy.cli.place import Place, pass_place
from mailproxy.client import Acceptance, AsyncMailProxyClient, NothingAdded, Rejection
from mailproxy.errors import Conflict, NotFound
from mailproxy.model import Priority

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
    fields = eml.fields_of(_octets(file)) | {"id": message_id or secrets.token_hex(8)}
    if batch_code:
        fields["batch_code"] = batch_code
    if priority is not None:
        fields["priority"] = int(priority)
    _check(fields)

    async def work(client: AsyncMailProxyClient) -> tuple[str, Acceptance]:
        account_id = await _account(client, account, place)
        return account_id, await _queue(client, {**fields, "account_id": account_id})

    account_id, queued = place.do(work)
    for left_out in queued.suppressed:
        show.note(f"{left_out} is on the suppression list and gets nothing.")
    _report(place, queued, account_id, as_json=as_json)


def _octets(file: Path) -> bytes:
    octets = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    if not octets.strip():
        raise click.UsageError(f"{'stdin' if str(file) == '-' else file} is empty: give a message file.")
    return octets


def _check(fields: dict[str, Any]) -> None:
    """Refuse what the API would reject, before it records that it did."""
    try:
        (checked,) = wire_messages.decode({"messages": [fields]}).messages
    except Refusal as refusal:
        raise Failure(f"The message is refused: {refusal.detail}", Exit.REFUSED) from refusal
    if faults := wire_messages.draft(checked, Priority.MEDIUM).faults:
        found = "\n".join(f"  {fault.field}: {fault.detail or 'is missing'}" for fault in faults)
        raise Failure(f"The message is refused:\n{found}", Exit.REFUSED)


async def _account(client: AsyncMailProxyClient, wanted: str | None, place: Place) -> str:
    accounts = [account.id for account in await client.accounts.list()]
    if not accounts:
        raise NotFound(
            f"Tenant {place.tenant!r} has no account to send through.\n"
            f"Add one with: {place.words} accounts add main --host smtp.example.com"
        )
    if wanted is None and len(accounts) > 1:
        raise click.UsageError(f"Choose an account with --account: {', '.join(accounts)}")
    chosen = accounts[0] if wanted is None else wanted
    if chosen not in accounts:
        raise NotFound(
            f"Tenant {place.tenant!r} has no account {chosen!r}.\nIts accounts: {place.words} accounts list"
        )
    return chosen


async def _queue(client: AsyncMailProxyClient, fields: dict[str, Any]) -> Acceptance:
    try:
        added = await client.messages.add(fields)
    except NothingAdded as error:
        rejected: Sequence[Rejection] = error.rejected
    else:
        rejected = added.rejected
        if added.accepted:
            return added.accepted[0]
    text = _CONFLICTS.get(rejected[0].code, f"The message was not queued: {rejected[0].reason}.")
    raise Conflict(text, code=rejected[0].code)


def _report(place: Place, queued: Acceptance, account_id: str, *, as_json: bool) -> None:
    if as_json:
        return show.document({"ok": True, **queued.raw, "account_id": account_id})
    show.details({"Queued": queued.id, "Key": queued.pk, "Account": account_id})
    if not place.server.is_running:
        name = place.server.name
        show.note(f"{name} is not running here; start it with: mail-proxy start {name} -b")
    return click.echo(f"See what becomes of it: {place.words} messages show {queued.id}")
