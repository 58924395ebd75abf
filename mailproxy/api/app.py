"""The API: one table of routes, from which the application is built."""

from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from mailproxy.api import (
    accounts,
    command_log,
    commands,
    dead_letters,
    downloads,
    instance,
    messages,
    pages,
    quarantine,
    service,
    submission,
    suppressions,
    tenants,
    webhook_secrets,
)
from mailproxy.api.auth import Access, Authenticator, FailedAuth
from mailproxy.api.bodies import Bodies
from mailproxy.api.bounds import BodyBounds, Bounds
from mailproxy.api.exchange import Exchange
from mailproxy.api.linked_files import LinkedFiles
from mailproxy.api.refusals import Refusal
from mailproxy.api.routing import Instance, Route, Services, slashes_told_apart, starlette_routes
from mailproxy.config import Settings
from mailproxy.intake import Intake
from mailproxy.store import Store

_OPEN, _ANY, _BOTH, _ADMIN = Access.PUBLIC, Access.ANY_TOKEN, Access.TENANT_OR_ADMIN, Access.ADMIN

ROUTES: tuple[Route, ...] = (
    Route("GET", "/health", service.health, _OPEN, "The process answers."),
    Route("GET", "/livez", service.livez, _OPEN, "The process answers."),
    Route("GET", "/readyz", service.readyz, _OPEN, "Mail can be accepted."),
    Route("GET", "/status", service.status, _ANY, "The queue and its processes in short."),
    Route("GET", "/stats", service.stats, _ADMIN, "Tenants, accounts and messages counted."),
    Route("GET", "/metrics", service.show_metrics, Access.METRICS, "Prometheus' text format."),
    Route("GET", "/download/{token}/{filename}", downloads.download, _OPEN, "The file, or a range of it."),
    Route("GET", "/openapi.json", pages.openapi, _OPEN, "The OpenAPI document."),
    Route("GET", "/docs", pages.docs, _OPEN, "A page."),
    Route("GET", "/redoc", pages.redoc, _OPEN, "A page."),
    Route("GET", "/docs/rapidoc-min.js", pages.script, _OPEN, "A script."),
    Route(
        "POST", "/commands/add-messages", submission.add_messages, _BOTH, "What was queued, what not and why."
    ),
    Route("POST", "/commands/run-now", commands.run_now, _BOTH, "Dispatch and reports were woken."),
    Route("POST", "/commands/suspend", commands.suspend, _BOTH, "What is suspended now."),
    Route("POST", "/commands/activate", commands.activate, _BOTH, "What is still suspended."),
    Route(
        "POST", "/commands/delete-messages", commands.delete_messages, _BOTH, "What was removed, what not."
    ),
    Route("POST", "/commands/cleanup-messages", commands.cleanup_messages, _BOTH, "How many were removed."),
    Route("POST", "/tenant", tenants.put, _ADMIN, "Stored; a new tenant's key is shown this once."),
    Route("GET", "/tenants", tenants.listing, _ADMIN, "A page of tenants by id."),
    Route("GET", "/tenants/sync-status", tenants.sync_status, _ADMIN, "How the calls to tenants stand."),
    Route("GET", "/tenant/{id}", tenants.show, _BOTH, "The tenant."),
    Route("PUT", "/tenant/{id}", tenants.change, _BOTH, "Changed as given."),
    Route("DELETE", "/tenant/{id}", tenants.delete, _ADMIN, "Gone with its accounts and messages."),
    Route("POST", "/tenant/{id}/api-key", tenants.make_key, _ADMIN, "The new key, shown this once."),
    Route(
        "DELETE", "/tenant/{id}/api-key", tenants.revoke_key, _ADMIN, "No key of the tenant works any more."
    ),
    Route("GET", "/instance", instance.show, _ADMIN, "The instance's settings."),
    Route("PUT", "/instance", instance.change, _ADMIN, "Changed as given."),
    Route("GET", "/instance/bounce", instance.show_bounce, _ADMIN, "How bounces are fetched."),
    Route("PUT", "/instance/bounce", instance.change_bounce, _ADMIN, "Changed as given."),
    Route("GET", "/quarantine", quarantine.listing, _ADMIN, "A page of mails, the newest first."),
    Route("POST", "/instance/bounce/reload", instance.reload_bounce, _ADMIN, "The reader was woken."),
    Route("POST", "/instance/reload-bounce", instance.reload_bounce, _ADMIN, "The reader was woken."),
    Route(
        "POST",
        "/tenant/{id}/webhook-secret",
        webhook_secrets.rotate,
        _BOTH,
        "The new secret signs; one made by the server is shown this once.",
    ),
    Route("DELETE", "/tenant/{id}/webhook-secret", webhook_secrets.end, _BOTH, "Calls are not signed."),
    Route("GET", "/command-log", command_log.listing, _ADMIN, "A page of commands, the newest first."),
    Route("GET", "/command-log/export", command_log.export, _ADMIN, "Commands, a JSON object a line."),
    Route("POST", "/account", accounts.put, _BOTH, "Stored."),
    Route("GET", "/accounts", accounts.listing, _BOTH, "A page of accounts by id."),
    Route("GET", "/account/{id}", accounts.show, _BOTH, "The account."),
    Route("PATCH", "/account/{id}", accounts.change, _BOTH, "Changed as given."),
    Route("DELETE", "/account/{id}", accounts.delete, _BOTH, "Gone with its messages."),
    Route("POST", "/account/{id}/reset", accounts.reset, _BOTH, "Its breaker is closed."),
    Route("GET", "/dead-letters", dead_letters.listing, _BOTH, "A page of dead letters by event."),
    Route("POST", "/dead-letters/replay", dead_letters.replay, _BOTH, "They are reported again, now."),
    Route("POST", "/dead-letters/discard", dead_letters.discard, _BOTH, "They will not be reported."),
    Route("GET", "/suppressions", suppressions.listing, _BOTH, "A page of entries by address."),
    Route("POST", "/suppressions", suppressions.add, _BOTH, "How many are new, how many were known."),
    Route("DELETE", "/suppressions", suppressions.remove, _BOTH, "Mail is sent to the address again."),
    Route("GET", "/messages", messages.listing, _BOTH, "A page of messages."),
    Route("GET", "/messages/{id:path}/events", messages.events, _BOTH, "What happened to the message."),
    Route("GET", "/messages/{id:path}/receipts", messages.receipts, _BOTH, "The receipts of certified mail."),
    Route(
        "GET", "/messages/{id:path}/receipts/{n}", messages.receipt, _BOTH, "The receipt, octet for octet."
    ),
    Route("GET", "/messages/{id:path}/explanation", messages.explanation, _BOTH, "Why it has not gone."),
    Route("POST", "/messages/{id:path}/cancel", messages.cancel, _BOTH, "It will not be sent."),
    Route("POST", "/messages/{id:path}/resolve", messages.resolve, _BOTH, "Decided as told."),
    Route("GET", "/messages/{id:path}", messages.show, _BOTH, "The message."),
)


def build(settings: Settings, store: Store, *, node: str = "", bounds: Bounds | None = None) -> ASGIApp:
    """The application on an open store, which stays the caller's to close."""
    services = Services(
        settings=settings,
        store=store,
        node=node,
        authenticator=Authenticator(settings, store.directory),
        intake=Intake(settings, store.queue),
        failed_auth=FailedAuth(),
        instance=Instance(store.fleet),
        linked_files=LinkedFiles(settings, store),
        bodies=Bodies(settings.state_dir / "spool", settings.max_body_mb * 1024 * 1024 // 2),
        routes=ROUTES,
    )
    router = Router(starlette_routes(ROUTES, services), redirect_slashes=False, default=_not_found)
    return BodyBounds(
        Exchange(slashes_told_apart(router)), bounds or Bounds(settings.max_body_mb * 1024 * 1024)
    )


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    raise Refusal(404, "Not Found", "not_found")
