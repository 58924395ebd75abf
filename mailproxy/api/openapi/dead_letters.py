"""What the document says about the routes of dead letters."""

from mailproxy.api import schemas_reports, wire
from mailproxy.api.openapi import examples
from mailproxy.api.openapi.operation import Operation

DEAD_LETTERS = {
    "GET /dead-letters": Operation(
        "listDeadLetters",
        "List reports that were set aside",
        schemas_reports.DeadLetters,
        {"ok": True, "dead_letters": [examples.DEAD_LETTER], "next_cursor": "Nw"},
        given={"tenant_id": "acme"},
    ),
    "POST /dead-letters/replay": Operation(
        "replayDeadLetters",
        "Report dead letters again",
        schemas_reports.Replayed,
        {"ok": True, "replayed": 120, "not_found": []},
        body=wire.Letters,
        body_required=False,
        given={"tenant_id": "acme"},
        sent={"since": "2030-01-01T00:00:00Z", "until": "2030-01-02T00:00:00Z"},
    ),
    "POST /dead-letters/discard": Operation(
        "discardDeadLetters",
        "Give up reporting dead letters",
        schemas_reports.Discarded,
        {"ok": True, "discarded": 1, "not_found": []},
        given={"tenant_id": "acme"},
        sent={"event_ids": [7]},
        errors=((400, "nothing_selected"),),
    ),
}
