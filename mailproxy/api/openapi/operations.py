"""What the document says about each route beyond the table: a name, its types, its own errors, and examples."""

from collections.abc import Mapping
from typing import Any

from mailproxy.api import schemas, schemas_certified, schemas_reports, wire
from mailproxy.api.openapi import examples
from mailproxy.api.openapi.dead_letters import DEAD_LETTERS
from mailproxy.api.openapi.instance import INSTANCE
from mailproxy.api.openapi.operation import Operation
from mailproxy.api.openapi.suppressions import SUPPRESSIONS

_TENANT_GONE, _ACCOUNT_GONE, _MESSAGE_GONE = (
    (404, "tenant_not_found"),
    (404, "account_not_found"),
    (404, "message_not_found"),
)
_BY_TENANT = {"tenant_id": "acme"}
_OF_MESSAGE = _BY_TENANT | {"id": "order-1001"}
_OF_ACCOUNT = _BY_TENANT | {"id": "main"}
_OF_TENANT = {"id": "acme"}
_SERVICE = {
    "GET /health": Operation(
        "health",
        "Is the process alive, and which version is it?",
        schemas.Health,
        {"ok": True, "status": "ok", "version": "1.0.0"},
    ),
    "GET /livez": Operation("livez", "Is the process alive?", schemas.Done, examples.DONE),
    "GET /readyz": Operation(
        "readyz",
        "Can mail be accepted?",
        schemas.Readiness,
        {"ok": True, "status": "ready"},
        answered_at=(200, 503),
    ),
    "GET /status": Operation(
        "status",
        "Look at the queue and its processes",
        schemas.Status,
        {
            "ok": True,
            "active": True,
            "scheduler_active": True,
            "pending": 42,
            "oldest_pending_age": 1.25,
            "reports_pending": 3,
            "reports_dead": 0,
            "processes": {"sender": 2, "reporter": 1},
            "version": "1.0.0",
            "node": "mail-1",
        },
    ),
    "GET /stats": Operation(
        "stats",
        "Count tenants, accounts and messages",
        schemas.Stats,
        {
            "ok": True,
            "tenants": 3,
            "accounts": 4,
            "messages": {"total": 1042, "pending": 42, "sent": 990, "error": 10, "unknown": 0},
            "reports_pending": 7,
            "reports_dead": 0,
            "tenants_switched_off": 0,
            "active": True,
        },
    ),
    "GET /metrics": Operation("metrics", "Scrape the metrics", "text/plain"),
    "GET /download/{token}/{filename}": Operation(
        "download",
        "Fetch a large file that a mail links to",
        "application/octet-stream",
        given={"token": "1.7.5f0c3f6e9b7d4a51", "filename": "report.pdf"},
        errors=(
            (403, "link_invalid"),
            (410, "link_ended"),
            (416, "range_not_satisfiable"),
            (503, "file_unavailable"),
            *((503, code) for code in ("storage_full", "storage_locked", "storage_read_only")),
        ),
        answered_at=(200, 206),
    ),
    "GET /openapi.json": Operation(
        "openapi", "Read this document", dict[str, Any], {"openapi": "3.1.0", "info": {"title": "mailproxy"}}
    ),
    "GET /docs": Operation("docs", "Read this document and try it in a browser", "text/html"),
    "GET /redoc": Operation("redoc", "Read this document on one page in a browser", "text/html"),
    "GET /docs/rapidoc-min.js": Operation("docsScript", "The viewer of the two pages", "text/javascript"),
}
_COMMANDS = {
    "POST /commands/add-messages": Operation(
        "addMessages",
        "Queue messages",
        schemas.Added,
        {"ok": True, "queued": 1, "rejected": [], "accepted": [{"id": "order-1002", "pk": examples.PK}]},
        body=schemas.AddMessages,
        sent={"messages": [examples.MESSAGE_FORM], "default_priority": "low"},
        errors=(
            (400, "all_rejected"),
            (400, "batch_too_large"),
            (400, "invalid_idempotency_key"),
            (409, "idempotency_in_flight"),
            (422, "idempotency_key_reused"),
            (429, "quota_exceeded"),
            (503, "disk_full"),
        ),
        happens_once=True,
    ),
    "POST /commands/run-now": Operation(
        "runNow",
        "Wake dispatch and reports",
        schemas.Done,
        examples.DONE,
        given=_BY_TENANT,
        errors=(_TENANT_GONE,),
    ),
    "POST /commands/suspend": Operation(
        "suspend",
        "Suspend a tenant, a batch or everything",
        schemas.Suspended | schemas.Scheduler,
        examples.SUSPENDED,
        given=_BY_TENANT | {"batch_code": "orders-2030-01"},
        errors=((400, "tenant_not_found"),),
    ),
    "POST /commands/activate": Operation(
        "activate",
        "End a suspension",
        schemas.Suspended | schemas.Scheduler,
        examples.SUSPENDED | {"suspended_batches": []},
        given=_BY_TENANT | {"batch_code": "orders-2030-01"},
        errors=((400, "cannot_activate"),),
    ),
    "POST /commands/delete-messages": Operation(
        "deleteMessages",
        "Remove messages",
        schemas.Deleted,
        {"ok": True, "removed": 1, "not_found": ["order-999"], "unauthorized": []},
        given=_BY_TENANT,
        sent={"ids": ["order-1001", "order-999"]},
    ),
    "POST /commands/cleanup-messages": Operation(
        "cleanupMessages",
        "Remove finished messages that were reported",
        schemas.CleanedUp,
        {"ok": True, "removed": 1250},
        given=_BY_TENANT,
        sent={"older_than_seconds": 86400},
    ),
}
_TENANTS = {
    "POST /tenant": Operation(
        "putTenant",
        "Create or replace a tenant",
        schemas.TenantStored,
        {"ok": True, "api_key": examples.KEY},
        sent=examples.TENANT_FORM,
        errors=((400, "storage_not_usable"),),
    ),
    "GET /tenants": Operation(
        "listTenants",
        "List tenants",
        schemas.Tenants,
        {"ok": True, "tenants": [examples.TENANT], "next_cursor": examples.CURSOR},
    ),
    "GET /tenants/sync-status": Operation(
        "syncStatus",
        "See how the calls to tenants stand",
        schemas_reports.SyncStatus,
        {
            "ok": True,
            "sync_interval_seconds": 300,
            "tenants": [
                {
                    "id": "acme",
                    "active": True,
                    "client_base_url": "https://app.acme.example",
                    "last_sync_ts": 1900000000,
                    "next_sync_due": False,
                    "in_dnd": False,
                    "failures": 0,
                    "reports_pending": 2,
                    "reports_dead": 0,
                }
            ],
            "next_cursor": examples.CURSOR,
        },
    ),
    "GET /tenant/{id}": Operation(
        "getTenant",
        "Look at a tenant",
        schemas.TenantInfo,
        examples.TENANT,
        given=_OF_TENANT,
        errors=(_TENANT_GONE,),
    ),
    "PUT /tenant/{id}": Operation(
        "changeTenant",
        "Change a tenant",
        schemas.Noted,
        examples.DONE,
        given=_OF_TENANT,
        sent={"name": "Acme Limited", "report_strict": True},
        errors=(
            (400, "url_not_allowed"),
            (400, "storage_not_allowed"),
            (400, "storage_not_usable"),
            (403, "admin_required"),
            _TENANT_GONE,
        ),
    ),
    "DELETE /tenant/{id}": Operation(
        "deleteTenant",
        "Delete a tenant, its accounts and its messages",
        schemas.Done,
        examples.DONE,
        given=_OF_TENANT,
        errors=(_TENANT_GONE,),
    ),
    "POST /tenant/{id}/api-key": Operation(
        "makeKey",
        "Make a tenant a new API key",
        schemas.NewKey,
        {"ok": True, "api_key": examples.KEY},
        body=wire.KeyForm,
        body_required=False,
        given=_OF_TENANT,
        sent={"keep_previous": 3600},
        errors=(_TENANT_GONE,),
    ),
    "DELETE /tenant/{id}/api-key": Operation(
        "revokeKeys",
        "Revoke a tenant's API keys",
        schemas.Done,
        examples.DONE,
        given=_OF_TENANT,
        errors=(_TENANT_GONE,),
    ),
    "POST /tenant/{id}/webhook-secret": Operation(
        "rotateWebhookSecret",
        "Sign the calls to a tenant with a new secret",
        schemas.WebhookSecretStored,
        {
            "ok": True,
            "webhook_secret": "whsec_ and 44 characters, shown this once",
            "previous_until": 1893459600,
        },
        body=wire.WebhookSecretForm,
        body_required=False,
        given=_OF_TENANT,
        sent={"keep_previous": 86400},
        errors=(_TENANT_GONE,),
    ),
    "DELETE /tenant/{id}/webhook-secret": Operation(
        "endWebhookSecret",
        "Sign the calls to a tenant no longer",
        schemas.Done,
        examples.DONE,
        given=_OF_TENANT,
        errors=(_TENANT_GONE,),
    ),
}
_ACCOUNTS = {
    "POST /account": Operation(
        "putAccount",
        "Create or replace an account",
        schemas.Noted,
        examples.DONE,
        sent=examples.ACCOUNT_FORM,
        errors=(
            (400, "host_not_allowed"),
            (400, "password_required"),
            (400, "tenant_id_required"),
            _TENANT_GONE,
        ),
    ),
    "GET /accounts": Operation(
        "listAccounts",
        "List a tenant's accounts",
        schemas.Accounts,
        {"ok": True, "accounts": [examples.ACCOUNT], "next_cursor": examples.CURSOR},
        given=_BY_TENANT,
    ),
    "GET /account/{id}": Operation(
        "getAccount",
        "Look at an account",
        schemas.Account,
        examples.DONE | examples.ACCOUNT | {"mailbox": examples.MAILBOX_HEALTH},
        given=_OF_ACCOUNT,
        errors=(_ACCOUNT_GONE,),
    ),
    "PATCH /account/{id}": Operation(
        "changeAccount",
        "Change an account",
        schemas.Noted,
        examples.DONE,
        given=_OF_ACCOUNT,
        sent={"password": "the new password", "retry_delays": [60, 300, 900]},
        errors=((400, "host_not_allowed"), (400, "password_required"), _ACCOUNT_GONE),
    ),
    "DELETE /account/{id}": Operation(
        "deleteAccount",
        "Delete an account and its messages",
        schemas.Done,
        examples.DONE,
        given=_OF_ACCOUNT,
        errors=((400, "account_not_found"), (409, "account_busy")),
    ),
    "POST /account/{id}/reset": Operation(
        "resetAccount",
        "Use an account again after its breaker opened",
        schemas.Done,
        examples.DONE,
        given=_OF_ACCOUNT,
        errors=(_ACCOUNT_GONE,),
    ),
}
_MESSAGES = {
    "GET /messages": Operation(
        "listMessages",
        "List a tenant's messages",
        schemas.Messages,
        {"ok": True, "messages": [examples.MESSAGE | {"history": examples.HISTORY}], "next_cursor": "MTAwMQ"},
        given=_BY_TENANT,
    ),
    "GET /messages/{id}": Operation(
        "getMessage",
        "Look at a message",
        schemas.Message,
        examples.DONE | examples.MESSAGE,
        given=_OF_MESSAGE,
        errors=(_MESSAGE_GONE,),
    ),
    "GET /messages/{id}/events": Operation(
        "listEvents",
        "Read what happened to a message",
        schemas.Events,
        {"ok": True, "events": examples.EVENTS},
        given=_OF_MESSAGE,
        errors=(_MESSAGE_GONE,),
    ),
    "GET /messages/{id}/explanation": Operation(
        "explainMessage",
        "Learn why a message has not gone",
        schemas_reports.Explanation,
        examples.EXPLANATION,
        given=_OF_MESSAGE,
        errors=(_MESSAGE_GONE,),
    ),
    "GET /messages/{id}/receipts": Operation(
        "listReceipts",
        "List the receipts of certified mail",
        schemas_certified.Receipts,
        {"ok": True, "receipts": [examples.RECEIPT]},
        given=_OF_MESSAGE,
        errors=(_MESSAGE_GONE,),
    ),
    "GET /messages/{id}/receipts/{n}": Operation(
        "getReceipt",
        "Fetch a receipt as it was received",
        "message/rfc822",
        given=_OF_MESSAGE | {"n": "1"},
        errors=(_MESSAGE_GONE, (404, "receipt_not_found")),
    ),
    "POST /messages/{id}/cancel": Operation(
        "cancelMessage",
        "Cancel a message that is not yet being sent",
        schemas.Cancelled,
        {"ok": True, "status": "cancelled"},
        given=_OF_MESSAGE,
        errors=(_MESSAGE_GONE, (409, "not_cancellable")),
    ),
    "POST /messages/{id}/resolve": Operation(
        "resolveMessage",
        "Decide about a message whose outcome is unknown",
        schemas.Noted,
        examples.DONE,
        given=_OF_MESSAGE,
        sent={"as": "sent"},
        errors=(_MESSAGE_GONE, (409, "not_in_doubt")),
    ),
}
OPERATIONS: Mapping[str, Operation] = (
    _SERVICE | _COMMANDS | _TENANTS | _ACCOUNTS | _MESSAGES | DEAD_LETTERS | SUPPRESSIONS | INSTANCE
)
