"""use, current: the instance and tenant that are meant where a command line names none."""

import os
from dataclasses import dataclass
from pathlib import Path

import click

from mailproxy.cli import show
from mailproxy.cli.exits import Exit, Failure
from mailproxy.cli.home import all_instances, existing_instance, home, instance_named, write_private
from mailproxy.cli.names import INSTANCE, TENANT
from mailproxy.cli.place import existing_tenant
from mailproxy.cli.server import on_store
from mailproxy.records import Tenant
from mailproxy.store import Store

_HINT = "Choose one with: mail-proxy use NAME[/TENANT]   (all instances: mail-proxy list)"


@dataclass(frozen=True, slots=True)
class Context:
    """`source` says who chose the instance."""

    instance: str
    tenant: str | None
    source: str

    def __str__(self) -> str:
        return self.instance if self.tenant is None else f"{self.instance}/{self.tenant}"


def chosen() -> Context | None:
    """GMP_INSTANCE and GMP_TENANT, else what `use` kept, else the only instance there is."""
    named = os.environ.get("GMP_INSTANCE")
    if named:
        return Context(named, os.environ.get("GMP_TENANT") or None, "GMP_INSTANCE")
    kept = _kept()
    if kept is not None:
        return Context(kept.instance, os.environ.get("GMP_TENANT") or kept.tenant, kept.source)
    instances = all_instances()
    if len(instances) == 1:
        return Context(instances[0].name, os.environ.get("GMP_TENANT") or None, "the only instance")
    return None


def implied(word: str, *, for_tenant: bool) -> list[str]:
    """The words left out before `word`; for a tenant's command those of the instance and the tenant."""
    context = chosen()
    if context is None:
        raise Failure(f"Which instance is meant for {word!r}?", Exit.USAGE, remedy=_HINT)
    if for_tenant and context.tenant is None:
        remedy = f"Choose one with: mail-proxy use {context.instance}/TENANT"
        raise Failure(f"Which tenant of {context.instance} is meant for {word!r}?", Exit.USAGE, remedy=remedy)
    words = [context.instance, f"@{context.tenant}"] if for_tenant else [context.instance]
    show.note(f"({context if for_tenant else context.instance})")
    return words


@click.command()
@click.argument("context", metavar="[NAME][/TENANT]", required=False)
@click.option("--clear", is_flag=True, help="Forget what was chosen.")
@show.json_option
def use(context: str | None, clear: bool, as_json: bool) -> None:
    """Choose the instance, and the tenant, for commands that name none."""
    if clear == (context is not None):
        raise click.UsageError("Give NAME, NAME/TENANT or /TENANT; or --clear.")
    if context is None:
        _file().unlink(missing_ok=True)
        return show.document({"ok": True}) if as_json else click.echo("Nothing is chosen any more.")
    found = _existing(context)
    write_private(_file(), f"{found}\n")
    return _show(found, as_json=as_json)


@click.command()
@click.option("--export", is_flag=True, help="Print it as assignments for a shell.")
@show.json_option
def current(export: bool, as_json: bool) -> None:
    """Show the instance and tenant that are meant where none is named."""
    found = chosen()
    if found is None:
        raise Failure("No instance is chosen.", Exit.NOT_FOUND, remedy=_HINT)
    existing_instance(found.instance)
    if not export:
        return _show(found, as_json=as_json)
    click.echo(f"export GMP_INSTANCE={found.instance}")
    return click.echo(f"export GMP_TENANT={found.tenant}" if found.tenant else "unset GMP_TENANT")


def _existing(text: str) -> Context:
    """What was typed, with an instance and a tenant that exist."""
    name, slash, tenant = text.partition("/")
    if not name:
        known = chosen()
        if known is None:
            raise Failure("Which instance is the tenant of?", Exit.USAGE, remedy=_HINT)
        name = known.instance
    instance = existing_instance(INSTANCE.convert(name, None, None))
    if not slash:
        return Context(name, None, "use")
    tenant_id = TENANT.convert(tenant, None, None)

    async def work(store: Store) -> Tenant:
        return await existing_tenant(store, instance, tenant_id)

    on_store(instance.settings(), work)
    return Context(name, tenant_id, "use")


def _kept() -> Context | None:
    try:
        text = _file().read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    name, _, tenant = text.partition("/")
    return Context(name, tenant or None, "use") if name and instance_named(name).exists else None


def _file() -> Path:
    return home() / ".current"


def _show(found: Context, *, as_json: bool) -> None:
    if as_json:
        return show.document({"instance": found.instance, "tenant": found.tenant, "source": found.source})
    return show.details({"Instance": found.instance, "Tenant": found.tenant, "Chosen by": found.source})


COMMANDS = (use, current)
