"""What a shell offers for a word half typed: instances, tenants and accounts that exist; never an error."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from mailproxy.cli import context
from mailproxy.cli.home import all_instances, instance_named
from mailproxy.cli.names import ACCOUNT, INSTANCE, TENANT, tenant_named
from mailproxy.errors import MailproxyError
from mailproxy.store import Store
from sql.open import open_store

MOST = 500
PATIENCE = 3.0


def known(what: str, ctx: click.Context) -> list[str]:
    """The names of this kind at the place the words before have led to."""
    instance, tenant = _place(ctx)
    try:
        if what == INSTANCE.what:
            return [one.name for one in all_instances()]
        if what == TENANT.what and instance:
            return _ask(instance, _tenants)
        if what == ACCOUNT.what and instance and tenant:
            return _ask(instance, lambda store: _accounts(store, tenant))
    except (MailproxyError, click.ClickException, TimeoutError, OSError):
        return []
    return []


def items(names: Iterable[str], incomplete: str, note: str) -> list[CompletionItem]:
    return [CompletionItem(name, help=note) for name in names if name.startswith(incomplete)]


def implied(word: str, *, for_tenant: bool) -> list[str]:
    """The words left out before `word`, as `context.implied` has them, when they can be told."""
    found = context.chosen()
    if found is None or (for_tenant and found.tenant is None):
        return []
    return [found.instance, f"@{found.tenant}"] if for_tenant else [found.instance]


def _place(ctx: click.Context) -> tuple[str | None, str | None]:
    """Names from the command line alone: while completing, no command has put anything into the context."""
    named: dict[str, str] = {}
    step: click.Context | None = ctx
    while step is not None:
        named[step.command.name or ""] = step.info_name or ""
        step = step.parent
    tenant = named.get("TENANT")
    return named.get("NAME"), tenant and tenant_named(tenant)


def _ask(instance: str, work: Callable[[Store], Coroutine[Any, Any, list[str]]]) -> list[str]:
    async def asked() -> list[str]:
        async with asyncio.timeout(PATIENCE):
            store = await open_store(instance_named(instance).settings(), role="completion")
            try:
                return await work(store)
            finally:
                await store.aclose()

    return asyncio.run(asked()) if instance_named(instance).exists else []


async def _tenants(store: Store) -> list[str]:
    found = await store.directory.tenants(active_only=False, after=None, limit=MOST)
    return [one.id for one in found]


async def _accounts(store: Store, tenant_id: str) -> list[str]:
    tenant = await store.directory.tenant(tenant_id)
    return sorted(await store.directory.account_ids(tenant.pk)) if tenant else []
