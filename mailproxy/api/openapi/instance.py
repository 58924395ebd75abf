"""What the document says about the routes of the instance itself."""

from mailproxy.api import schemas, schemas_instance
from mailproxy.api.command_log import LINES
from mailproxy.api.openapi import examples
from mailproxy.api.openapi.operation import Operation

_RELOADED = {"ok": True, "error": None}
INSTANCE = {
    "GET /command-log": Operation(
        "listCommands",
        "See who commanded what",
        schemas_instance.Commands,
        {"ok": True, "commands": [examples.COMMAND], "total": 1, "next_cursor": "MTI"},
        given={"tenant_id": "acme"},
    ),
    "GET /command-log/export": Operation(
        "exportCommands", "Take the command log away", LINES, given={"tenant_id": "acme"}
    ),
    "GET /instance": Operation(
        "getInstance", "Look at the instance's settings", schemas_instance.InstanceInfo, examples.INSTANCE
    ),
    "PUT /instance": Operation(
        "changeInstance",
        "Change the instance's settings",
        schemas.Noted,
        examples.DONE,
        sent={"name": "mail-1", "bounce_enabled": False},
    ),
    "GET /instance/bounce": Operation(
        "getBounce",
        "Look at how bounces are fetched",
        schemas_instance.Bounce,
        examples.DONE | examples.BOUNCE | {"health": examples.MAILBOX_HEALTH},
    ),
    "PUT /instance/bounce": Operation(
        "changeBounce",
        "Set how bounces are fetched",
        schemas.Noted,
        examples.DONE,
        sent=examples.BOUNCE_FORM,
    ),
    "GET /quarantine": Operation(
        "listQuarantine",
        "See which mail could not be read",
        schemas_instance.Quarantine,
        {"ok": True, "mails": [examples.SET_ASIDE], "next_cursor": "MTI"},
        given={"tenant_id": "acme"},
    ),
    "POST /instance/bounce/reload": Operation(
        "reloadBounce",
        "Fetch bounces now, as it is set now",
        schemas_instance.Reloaded,
        _RELOADED,
        errors=((400, "bounce_not_configured"),),
    ),
    "POST /instance/reload-bounce": Operation(
        "reloadBounceByItsFormerName",
        "The same as `/instance/bounce/reload`",
        schemas_instance.Reloaded,
        _RELOADED,
        errors=((400, "bounce_not_configured"),),
    ),
}
