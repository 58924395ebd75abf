"""Where a command works: an instance or another server, and for most commands one tenant in it."""

import difflib
import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from mailproxy import errors
from mailproxy.cli.exits import Exit, Failure
from mailproxy.cli.home import Instance, all_instances, existing_instance
from mailproxy.cli.names import GLOBAL_WORDS
from mailproxy.cli.server import Local, Remote, Server
from mailproxy.client import AsyncMailProxyClient, NotFound
from mailproxy.client import Tenant as ShownTenant
from mailproxy.records import Tenant
from mailproxy.store import Store

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """A tenant of a server."""

    server: Server
    tenant: str

    @property
    def instance(self) -> Instance:
        return self.server.instance

    @property
    def words(self) -> str:
        """How commands for it begin."""
        return f"{self.server.words} {self.tenant}"

    def do(self, work: Callable[[AsyncMailProxyClient], Coroutine[Any, Any, T]]) -> T:
        """Do `work` with a client for the tenant, which must exist."""

        async def with_tenant(client: AsyncMailProxyClient) -> T:
            await shown_tenant(client, self.server, self.tenant)
            return await work(client)

        return self.server.do(with_tenant, self.tenant)


def pass_instance(command: Callable[Concatenate[Instance, P], T]) -> Callable[P, T]:
    """Give the command its instance, which must exist; so help is shown without one."""

    @functools.wraps(command)
    def with_instance(*args: P.args, **kwargs: P.kwargs) -> T:
        return command(required(_server()).instance, *args, **kwargs)

    return with_instance


def pass_server(command: Callable[Concatenate[Server, P], T]) -> Callable[P, T]:
    """Give the command its server: an instance, which must exist, or one somewhere else."""

    @functools.wraps(command)
    def with_server(*args: P.args, **kwargs: P.kwargs) -> T:
        return command(required(_server()), *args, **kwargs)

    return with_server


def pass_place(command: Callable[Concatenate[Place, P], T]) -> Callable[P, T]:
    """Give the command its place, whose instance must exist."""

    @functools.wraps(command)
    def with_place(*args: P.args, **kwargs: P.kwargs) -> T:
        place = click.get_current_context().find_object(Place)
        assert place is not None, "the groups above put it there"
        required(place.server)
        return command(place, *args, **kwargs)

    return with_place


def server_of(ctx: click.Context) -> Server | None:
    """The server that the words before a command name."""
    return ctx.find_object(Server)  # type: ignore[type-abstract] # it is looked for, never made


def _server() -> Server:
    server = server_of(click.get_current_context())
    assert server is not None, "the groups above put it there"
    return server


def required(server: Server) -> Server:
    """The instance named by a command line's first word, which may also be a command misspelt."""
    if isinstance(server, Remote) or server.instance.exists:
        return server
    known = [*GLOBAL_WORDS, *(one.name for one in all_instances())]
    near = difflib.get_close_matches(server.name, known, n=1, cutoff=0.75)
    if near:
        raise Failure(
            f"There is no command and no instance {server.name!r}.",
            Exit.NOT_FOUND,
            remedy=f"Did you mean: mail-proxy {near[0]}   (all commands: mail-proxy --help)",
        )
    return Local(existing_instance(server.name))


async def shown_tenant(client: AsyncMailProxyClient, server: Server, tenant_id: str) -> ShownTenant:
    try:
        return await client.tenants.get(tenant_id)
    except NotFound as error:
        raise _no_tenant(server, tenant_id) from error


async def existing_tenant(store: Store, instance: Instance, tenant_id: str) -> Tenant:
    tenant = await store.directory.tenant(tenant_id)
    if tenant is None:
        raise _no_tenant(Local(instance), tenant_id)
    return tenant


def _no_tenant(server: Server, tenant_id: str) -> errors.NotFound:
    return errors.NotFound(
        f"There is no tenant {tenant_id!r} in {server.name}.\n"
        f"Add it with: {server.words} tenants add {tenant_id}"
        f"   (all tenants: {server.words} tenants list)"
    )
