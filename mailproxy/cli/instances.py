"""list, start, stop, restart, status, delete: the servers of this machine."""

import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import click

from mailproxy import config
from mailproxy.cli import ask, background, process, show
from mailproxy.cli.exits import Exit, Failure
from mailproxy.cli.home import Instance, all_instances, existing_instance, home, instance_named
from mailproxy.cli.names import INSTANCE, NEW_INSTANCE
from mailproxy.cli.preparation import BOTH, prepare
from mailproxy.cli.serve import run_server
from mailproxy.config import Settings
from mailproxy.errors import ConfigurationError, MailproxyError
from mailproxy.keyfile import ensure_key_file
from mailproxy.model import Seconds

FIRST_PORT = 8000
_GRACE = 25.0

force_option = click.option("-f", "--force", is_flag=True, help="Kill at once instead of waiting.")


@dataclass(frozen=True, slots=True)
class Address:
    host: str | None
    port: int | None

    def given(self) -> dict[str, object]:
        return {"host": self.host, "port": self.port}

    def options(self) -> list[str]:
        given = {name: value for name, value in self.given().items() if value is not None}
        return [f"--{name}={value}" for name, value in given.items()]


@click.command("list")
@show.json_option
def list_instances(as_json: bool) -> None:
    """List the instances of this machine."""
    found = [_status(instance) for instance in all_instances()]
    if as_json:
        return show.document(found)
    if not found:
        click.echo("No instances yet. Make one with:\n  mail-proxy start NAME -b")
        return None
    columns = [show.Column(title) for title in ("Name", "Status", "Port", "PID", "URL")]
    return show.table(columns, ([one[column.title.lower()] for column in columns] for one in found))


@click.command()
@click.argument("name", type=INSTANCE)
@show.json_option
def status(name: str, as_json: bool) -> None:
    """Say whether an instance runs, and whether it is ready."""
    instance = existing_instance(name)
    found = _status(instance)
    server = process.running(instance)
    checks = background.readiness(server) if server else None
    if server:
        found |= {"ready": checks is not None and checks.ready, "started_at": server.started_at}
    if as_json:
        return show.document(found)
    unready = None if checks is None or checks.ready else checks.text
    return show.details(
        {
            "Name": name,
            "Status": found["status"],
            "Ready": found.get("ready"),
            "Because": unready,
            "URL": found["url"],
            "PID": found["pid"],
            "Since": show.moment(server.started_at) if server else None,
            "Log": instance.log_file if instance.log_file.exists() else None,
        }
    )


@click.command()
@click.argument("name", type=NEW_INSTANCE)
@click.option("-h", "--host", help="Address to listen on.  [new instances: 0.0.0.0]")
@click.option(
    "-p", "--port", type=click.IntRange(1, 65535), help="Port.  [new instances: first free from 8000]"
)
@click.option(
    "-b", "--background", "in_background", is_flag=True, help="Return as soon as the server is ready."
)
@click.option(
    "--database-url",
    envvar="GMP_DATABASE_URL",
    help="postgresql:// URL for a new instance.  [GMP_DATABASE_URL, else SQLite in its directory]",
)
@show.json_option
def start(
    name: str,
    host: str | None,
    port: int | None,
    in_background: bool,
    database_url: str | None,
    as_json: bool,
) -> int:
    """Run an instance, making it first if it is new."""
    instance, address = instance_named(name), Address(host, port)
    if database_url is not None:
        _check_url(database_url)
    with instance.starting():
        server = process.running(instance)
        if server is not None:
            show.say(f"{name} is already running: {server.url} (pid {server.pid})")
            return _done(instance, as_json=as_json)
        settings = _ready_to_run(instance, address, database_url)
        if not in_background:
            process.record_own(instance, settings.host, settings.port)
    if in_background:
        _start_in_background(instance, address, settings.port)
        return _done(instance, as_json=as_json)
    show.say(f"{name} runs at {process.url_of(settings.host, settings.port)}; Ctrl-C stops it.")
    _done(instance, as_json=as_json)
    try:
        return run_server(instance.loader(**address.given()), BOTH)
    finally:
        process.forget_own(instance)


@click.command()
@click.argument("name", type=INSTANCE)
@force_option
@show.json_option
def stop(name: str, force: bool, as_json: bool) -> int:
    """Stop an instance; deliveries under way are finished first."""
    instance = existing_instance(name)
    if not _stop(instance, force=force):
        show.say(f"{name} is not running.")
    return _done(instance, as_json=as_json)


@click.command()
@click.argument("name", type=INSTANCE)
@force_option
@show.json_option
def restart(name: str, force: bool, as_json: bool) -> int:
    """Stop an instance and start it again in the background."""
    instance = existing_instance(name)
    server = process.running(instance)
    address = Address(server.host, server.port) if server else Address(None, None)
    _stop(instance, force=force)
    settings = _ready_to_run(instance, address, None)
    _start_in_background(instance, address, settings.port)
    return _done(instance, as_json=as_json)


@click.command()
@click.argument("name", type=INSTANCE)
@click.option("-f", "--force", is_flag=True, help="Do not ask, and kill the server if it runs.")
@show.json_option
def delete(name: str, force: bool, as_json: bool) -> None:
    """Delete an instance with its configuration, key and messages."""
    instance = existing_instance(name)
    if process.running(instance) and not force:
        raise Failure(
            f"{name} is running.",
            Exit.CONFLICT,
            remedy=f"Stop it first: mail-proxy stop {name}   (or add --force)",
        )
    ask.sure(f"Delete {name} with everything in {instance.directory}?", force=force)
    _stop(instance, force=True)
    url = instance.remembered().get("database_url")
    instance.remove()
    show.say(f"Deleted {name}.")
    if url:
        show.say(f"Its database was left as it is: {config.database_at(str(url)).label}")
    if as_json:
        show.document({"ok": True, "name": name})


def _done(instance: Instance, *, as_json: bool) -> int:
    if as_json:
        show.document(_status(instance))
    return Exit.OK


def _ready_to_run(instance: Instance, address: Address, database_url: str | None) -> Settings:
    """Settings of an instance whose directory, key and database are as they must be; made if it is new."""
    is_new = not instance.exists
    if is_new:
        host = address.host or "0.0.0.0"  # noqa: S104 the contract's default
        instance.create(host=host, port=address.port or _free_port(host), database_url=database_url)
    elif _is_typed("database_url") and database_url != instance.remembered().get("database_url"):
        raise Failure(
            f"{instance.name} keeps its data in another database.",
            Exit.CONFLICT,
            remedy="Leave --database-url out, or start an instance of another name.",
        )
    try:
        settings = _prepared(instance, address)
    except (MailproxyError, Failure):
        if is_new:
            instance.remove()
        raise
    if is_new:
        _introduce(instance, settings)
    elif address.options():
        instance.remember(host=settings.host, port=settings.port)
    return settings


def _prepared(instance: Instance, address: Address) -> Settings:
    if "database_url" in instance.remembered() and not instance.settings().encryption_keys:
        ensure_key_file(instance.key_file)
        instance.remember(encryption_key_file=str(instance.key_file))
    settings = instance.settings(**address.given())
    if not process.port_is_free(settings.host, settings.port):
        raise Failure(
            f"Port {settings.port} is taken by another program.",
            Exit.CONFLICT,
            remedy=f"Choose another one: mail-proxy start {instance.name} -p {_free_port(settings.host)}",
        )
    prepare(settings, BOTH)
    return settings


def _check_url(url: str) -> None:
    try:
        kind = config.database_at(url).kind
        password = urlsplit(url).password
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--database-url") from error
    if kind != "postgres":
        raise click.BadParameter("must be postgresql://HOST/DATABASE", param_hint="--database-url")
    if password and _is_typed("database_url"):
        show.note("Warning: others can see the password in --database-url; use GMP_DATABASE_URL instead.")


def _introduce(instance: Instance, settings: Settings) -> None:
    token = settings.api_token.get_secret_value() if settings.api_token else None
    show.say(f"New instance {instance.name} in {home()}")
    show.details({"URL": process.url_of(settings.host, settings.port), "Admin token": token})
    show.say("Next:")
    here = f"mail-proxy {instance.name}"
    show.commands(
        (f"{here} tenants add acme", "add a tenant, and get its API key"),
        (f"{here} acme accounts add main --host smtp.example.com", "add an SMTP account"),
        (f"{here} acme send hello.eml", "send a first message"),
        (f"{here} token", "show the admin token again"),
    )


def _start_in_background(instance: Instance, address: Address, port: int) -> None:
    began = time.monotonic()
    show.note(f"Starting {instance.name} on port {port} …")
    server = background.start(instance, address.options())
    took = time.monotonic() - began
    show.say(f"{instance.name} is ready: {server.url} (pid {server.pid}, {took:.1f} s)")


def _stop(instance: Instance, *, force: bool) -> bool:
    """Whether there was something to stop, which is gone now."""
    server = process.running(instance)
    if server is None:
        return False
    if force:
        process.kill_all(server)
        gone = process.wait_until_gone(server, _GRACE)
    else:
        patience = _drain(instance)
        show.note(f"Stopping {instance.name} (pid {server.pid}), for at most {patience:.0f} s …")
        process.ask_to_stop(server)
        gone = process.wait_until_gone(server, patience + _GRACE)
    if not gone:
        raise Failure(
            f"{instance.name} (pid {server.pid}) has not stopped yet.",
            remedy=f"Wait, or kill it with: mail-proxy stop {instance.name} --force",
        )
    instance.pid_file.unlink(missing_ok=True)
    show.say(f"Stopped {instance.name}.")
    return True


def _drain(instance: Instance) -> Seconds:
    try:
        return instance.settings().drain_seconds
    except ConfigurationError:
        return Settings.model_fields["drain_seconds"].default  # type: ignore[no-any-return]


def _status(instance: Instance) -> dict[str, object]:
    server = process.running(instance)
    kept = instance.remembered()
    host, port = (server.host, server.port) if server else (str(kept.get("host", "")), kept.get("port"))
    return {
        "name": instance.name,
        "status": "running" if server else "stopped",
        "pid": server.pid if server else None,
        "host": host,
        "port": port,
        "url": server.url if server else None,
    }


def _free_port(host: str) -> int:
    reserved = {instance.remembered().get("port") for instance in all_instances()}
    ports = (port for port in range(FIRST_PORT, 65536) if port not in reserved)
    return next(port for port in ports if process.port_is_free(host, port))


def _is_typed(parameter: str) -> bool:
    source = click.get_current_context().get_parameter_source(parameter)
    return source is click.core.ParameterSource.COMMANDLINE


COMMANDS = (list_instances, start, stop, restart, status, delete)
