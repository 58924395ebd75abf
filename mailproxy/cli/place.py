"""Where a command works: an instance's database, and for most commands one tenant in it."""

import asyncio
import difflib
import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from mailproxy.cli.exits import Exit, Failure
from mailproxy.cli.home import Instance, all_instances, existing_instance
from mailproxy.cli.names import GLOBAL_WORDS
from mailproxy.config import Settings
from mailproxy.errors import ConfigurationError, NotFound
from mailproxy.records import Tenant
from mailproxy.store import Store
from sql.open import open_store

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    instance: Instance
    tenant: str

    def run(self, work: Callable[[Store, Tenant], Coroutine[Any, Any, T]]) -> T:
        """Do `work` with the tenant, which must exist."""

        async def with_tenant(store: Store) -> T:
            return await work(store, await existing_tenant(store, self.instance, self.tenant))

        return on_store(self.instance.settings(), with_tenant)


def pass_instance(command: Callable[Concatenate[Instance, P], T]) -> Callable[P, T]:
    """Give the command its instance, which must exist; so help is shown without one."""

    @functools.wraps(command)
    def with_instance(*args: P.args, **kwargs: P.kwargs) -> T:
        return command(required(_found(Instance)), *args, **kwargs)

    return with_instance


def pass_place(command: Callable[Concatenate[Place, P], T]) -> Callable[P, T]:
    """Give the command its place, whose instance must exist."""

    @functools.wraps(command)
    def with_place(*args: P.args, **kwargs: P.kwargs) -> T:
        place = _found(Place)
        required(place.instance)
        return command(place, *args, **kwargs)

    return with_place


def required(instance: Instance) -> Instance:
    """The instance named by a command line's first word, which may also be a command misspelt."""
    if instance.exists:
        return instance
    known = [*GLOBAL_WORDS, *(one.name for one in all_instances())]
    near = difflib.get_close_matches(instance.name, known, n=1, cutoff=0.75)
    if near:
        raise Failure(
            f"There is no command and no instance {instance.name!r}.",
            Exit.NOT_FOUND,
            remedy=f"Did you mean: mail-proxy {near[0]}   (all commands: mail-proxy --help)",
        )
    return existing_instance(instance.name)


def _found(kind: type[T]) -> T:
    found = click.get_current_context().find_object(kind)
    assert found is not None, "the groups above put it there"
    return found


def on_store(settings: Settings, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
    """Open the store, do `work`, close it."""

    async def opened() -> T:
        try:
            store = await open_store(settings, role="cli")
        except ConfigurationError as error:
            raise Failure(f"{settings.database.label}: {error.detail}", Exit.UNREACHABLE) from error
        try:
            return await work(store)
        finally:
            await store.aclose()

    return asyncio.run(opened())


async def existing_tenant(store: Store, instance: Instance, tenant_id: str) -> Tenant:
    tenant = await store.directory.tenant(tenant_id)
    if tenant is None:
        raise NotFound(
            f"There is no tenant {tenant_id!r} in {instance.name}.\n"
            f"Add it with: mail-proxy {instance.name} tenants add {tenant_id}"
            f"   (all tenants: mail-proxy {instance.name} tenants list)"
        )
    return tenant
