"""Where a command works: an instance's database, and for most commands one tenant in it."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from mailproxy.cli.home import Instance
from mailproxy.config import Settings
from mailproxy.errors import NotFound
from mailproxy.records import Tenant
from mailproxy.store import Store
from sql.open import open_store

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


pass_instance = click.make_pass_decorator(Instance)
pass_place = click.make_pass_decorator(Place)


def on_store(settings: Settings, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
    """Open the store, do `work`, close it."""

    async def opened() -> T:
        store = await open_store(settings, role="cli")
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
