"""The commands of `MailProxy.handle_command`: names for routes of the API, and where a payload's fields go there."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from mailproxy.api.app import ROUTES
from mailproxy.api.routing import Route

COMMANDS: Mapping[str, tuple[str, str]] = {
    "status": ("GET", "/status"),
    "stats": ("GET", "/stats"),
    "run now": ("POST", "/commands/run-now"),
    "suspend": ("POST", "/commands/suspend"),
    "activate": ("POST", "/commands/activate"),
    "addMessages": ("POST", "/commands/add-messages"),
    "deleteMessages": ("POST", "/commands/delete-messages"),
    "cleanupMessages": ("POST", "/commands/cleanup-messages"),
    "listMessages": ("GET", "/messages"),
    "getMessage": ("GET", "/messages/{id}"),
    "listMessageEvents": ("GET", "/messages/{id}/events"),
    "cancelMessage": ("POST", "/messages/{id}/cancel"),
    "resolveMessage": ("POST", "/messages/{id}/resolve"),
    "addAccount": ("POST", "/account"),
    "listAccounts": ("GET", "/accounts"),
    "getAccount": ("GET", "/account/{id}"),
    "updateAccount": ("PATCH", "/account/{id}"),
    "resetAccount": ("POST", "/account/{id}/reset"),
    "deleteAccount": ("DELETE", "/account/{id}"),
    "addTenant": ("POST", "/tenant"),
    "listTenants": ("GET", "/tenants"),
    "listTenantsSyncStatus": ("GET", "/tenants/sync-status"),
    "getTenant": ("GET", "/tenant/{id}"),
    "updateTenant": ("PUT", "/tenant/{id}"),
    "deleteTenant": ("DELETE", "/tenant/{id}"),
    "createApiKey": ("POST", "/tenant/{id}/api-key"),
    "revokeApiKey": ("DELETE", "/tenant/{id}/api-key"),
    "createWebhookSecret": ("POST", "/tenant/{id}/webhook-secret"),
    "endWebhookSecret": ("DELETE", "/tenant/{id}/webhook-secret"),
    "listDeadLetters": ("GET", "/dead-letters"),
    "replayDeadLetters": ("POST", "/dead-letters/replay"),
    "discardDeadLetters": ("POST", "/dead-letters/discard"),
    "listSuppressions": ("GET", "/suppressions"),
    "addSuppressions": ("POST", "/suppressions"),
    "removeSuppression": ("DELETE", "/suppressions"),
    "listCommandLog": ("GET", "/command-log"),
    "getInstance": ("GET", "/instance"),
    "updateInstance": ("PUT", "/instance"),
    "getBounceConfig": ("GET", "/instance/bounce"),
    "updateBounceConfig": ("PUT", "/instance/bounce"),
    "reloadBounce": ("POST", "/instance/bounce/reload"),
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request of the API."""

    method: str
    path: str
    query: str = ""
    body: bytes = field(default=b"", repr=False)
    idempotency_key: str | None = None


def request(name: str, payload: Mapping[str, Any], idempotency_key: str | None = None) -> Request | str:
    """The request that a command is, or what is wrong with its name or with its payload's `id`."""
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        return f"There is no command {name!r}" + (f": did you mean {near[0]!r}?" if near else "")
    route = _route(*COMMANDS[name])
    fields = dict(payload)
    path = route.template
    if "{id}" in path:
        identity = fields.pop("id", None)
        if not isinstance(identity, str) or not identity:
            return f"The command {name!r} needs the id of what it is about"
        path = path.replace("{id}", quote(identity, safe=""))
    forms = route.forms()
    asked = forms["query"].names() if "query" in forms else []
    if route.method in ("GET", "DELETE"):
        asked = list(fields)
    query = {key: _text(fields.pop(key)) for key in asked if fields.get(key) is not None}
    body = b"" if route.method in ("GET", "DELETE") else json.dumps(fields).encode()
    return Request(route.method, path, urlencode(query), body, idempotency_key)


def _route(method: str, template: str) -> Route:
    return next(route for route in ROUTES if (route.method, route.template) == (method, template))


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
