"""NAME suspend, NAME TENANT suspend and their ends: hold sending back, and let it go."""

from collections.abc import Callable
from typing import TypeVar

import click

from mailproxy.api import wire
from mailproxy.cli import ask, show
from mailproxy.cli.ask import Checked
from mailproxy.cli.place import Place, pass_place, pass_server
from mailproxy.cli.server import Server
from mailproxy.client import Suspension

F = TypeVar("F", bound=Callable[..., object])


def _batch(command: F) -> F:
    code = Checked(wire.BatchCode, "code")
    return click.option("-b", "--batch", type=code, help="Only this batch of the tenant's.")(command)


@click.command("suspend")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@show.json_option
@pass_server
def suspend(server: Server, force: bool, as_json: bool) -> None:
    """Hold back everything; messages are still accepted."""
    ask.sure(f"Send nothing more on {server.name}, for no tenant?", force=force)
    done = server.do(lambda client: client.suspend())
    show.say(f"Nothing is sent until: {server.words} activate")
    _document(done, as_json=as_json)


@click.command("activate")
@show.json_option
@pass_server
def activate(server: Server, as_json: bool) -> None:
    """Send again; tenants and batches that were suspended stay so."""
    done = server.do(lambda client: client.activate())
    show.say("Sending is on.")
    _document(done, as_json=as_json)


@click.command("suspend")
@_batch
@show.json_option
@pass_place
def suspend_tenant(place: Place, batch: str | None, as_json: bool) -> None:
    """Hold back the tenant's messages, or those of one batch."""
    done = place.do(lambda client: client.suspend(batch_code=batch))
    how = "activate" if not batch or "*" in done.suspended_batches else f"activate --batch {batch}"
    show.say(f"{_held(done)} until: {place.words} {how}")
    _document(done, as_json=as_json)


@click.command("activate")
@_batch
@show.json_option
@pass_place
def activate_tenant(place: Place, batch: str | None, as_json: bool) -> None:
    """Let the tenant's messages go, or those of one batch."""
    done = place.do(lambda client: client.activate(batch_code=batch))
    left = ", ".join(done.suspended_batches)
    show.say(f"Batches that stay suspended: {left}." if left else "Nothing of the tenant is suspended.")
    _document(done, as_json=as_json)


def _held(done: Suspension) -> str:
    count = done.pending_messages or 0
    return "1 message waits" if count == 1 else f"{count} messages wait"


def _document(done: Suspension, *, as_json: bool) -> None:
    if as_json:
        show.document(show.told(done.raw))


OF_INSTANCE = (suspend, activate)
OF_TENANT = (suspend_tenant, activate_tenant)
