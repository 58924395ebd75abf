"""Remedies as calls of this API, for findings about messages."""

import math
from typing import Any
from urllib.parse import quote

from mailproxy.explanation import Action, Finding, Remedy
from mailproxy.shapes import present

_SAID = {
    Action.RESOLVE: 'POST /messages/{path}/resolve {{"as": "sent"}}, or "retry", or "error"',
    Action.POST_AGAIN: "Post it again with the same id once the reason is gone.",
    Action.WAIT: "Nothing to do while workers run: the account's next sender settles it.",
    Action.ACTIVATE_ALL: "POST /commands/activate with the admin token and no tenant",
    Action.ACTIVATE_TENANT: "POST /commands/activate?tenant_id={path}",
    Action.ACTIVATE_BATCH: "POST /commands/activate?tenant_id={tenant}&batch_code={path}",
    Action.RESET_ACCOUNT: "POST /account/{path}/reset",
    Action.CORRECT_LOGIN: "PATCH /account/{path} with the right password, which also switches it on",
    Action.RAISE_ACCOUNT_LIMIT: "PATCH /account/{path} with a higher limit, or 0 for none",
    Action.RAISE_TENANT_LIMIT: "PUT /tenant/{path} with higher rate_limits, or 0 for none",
    Action.START_WORKERS: "Whoever runs the service starts them: mail-proxy serve, or mail-proxy start NAME -b",
    Action.SET_URL: 'PUT /tenant/{path} {{"client_base_url": URL}}',
    Action.SWITCH_ON: 'PUT /tenant/{path} {{"switch_on": true}}',
    Action.RUN_NOW: "POST /commands/run-now",
    Action.REPLAY: 'POST /dead-letters/replay {{"event_ids": [{object}]}}',
}


def finding(found: Finding, tenant_id: str) -> dict[str, Any]:
    """As clients see it; `until` is rounded up, since before its end nothing has changed."""
    remedy = found.remedy
    return present(
        {
            "code": found.code,
            "text": found.text,
            "blocks": found.blocks,
            "remedy": remedy and said(remedy, tenant_id),
            "action": remedy and remedy.action,
            "object": remedy and remedy.object,
            "until": None if found.until is None else math.ceil(found.until),
        }
    )


def said(remedy: Remedy, tenant_id: str) -> str:
    named = remedy.object or ""
    return _SAID[remedy.action].format(object=named, path=quote(named), tenant=quote(tenant_id))
