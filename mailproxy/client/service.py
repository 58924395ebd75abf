"""Calls about the service as a whole."""

from collections.abc import Mapping
from typing import Any

from mailproxy.client.answers import Health, Stats, Status, Suspension
from mailproxy.client.exchange import Context, Request, Steps, ask
from mailproxy.client.reading import read


def health(context: Context) -> Steps[Health]:
    """The process answers; needs no token."""
    return read(Health, (yield from ask(context, Request("GET", "/health"))))


def status(context: Context) -> Steps[Status]:
    """The queue and the processes in short."""
    return read(Status, (yield from ask(context, Request("GET", "/status"))))


def stats(context: Context) -> Steps[Stats]:
    """Tenants, accounts and messages counted; for the admin."""
    return read(Stats, (yield from ask(context, Request("GET", "/stats"))))


def run_now(context: Context, tenant_id: str | None = None) -> Steps[None]:
    """Send what is due and report at once, for the tenant or for all."""
    query = {"tenant_id": context.tenant(tenant_id)}
    yield from ask(context, Request("POST", "/commands/run-now", query))


def suspend(
    context: Context, tenant_id: str | None = None, batch_code: str | None = None
) -> Steps[Suspension]:
    """Hold back the tenant's messages, or those of one batch; for the admin without a tenant everybody's."""
    return (yield from _switch(context, "/commands/suspend", tenant_id, batch_code))


def activate(
    context: Context, tenant_id: str | None = None, batch_code: str | None = None
) -> Steps[Suspension]:
    """Let go what `suspend` holds back."""
    return (yield from _switch(context, "/commands/activate", tenant_id, batch_code))


def call(
    context: Context,
    method: str,
    path: str,
    *,
    query: Mapping[str, object] | None = None,
    body: Mapping[str, object] | None = None,
    repeatable: bool | None = None,
) -> Steps[Any]:
    """Any route of the API, and its decoded answer. POSTs are repeated only when told that they may be."""
    may_be = method != "POST" if repeatable is None else repeatable
    return (yield from ask(context, Request(method, path, query or {}, body, repeatable=may_be)))


def _switch(context: Context, path: str, tenant_id: str | None, batch_code: str | None) -> Steps[Suspension]:
    query = {"tenant_id": context.tenant(tenant_id), "batch_code": batch_code}
    return read(Suspension, (yield from ask(context, Request("POST", path, query))))
