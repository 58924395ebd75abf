"""What the document says about the routes of suppression lists."""

from mailproxy.api import schemas, schemas_suppressions
from mailproxy.api.openapi import examples
from mailproxy.api.openapi.operation import Operation

_TENANT = {"tenant_id": "acme"}
_TENANT_GONE = (404, "tenant_not_found")

SUPPRESSIONS = {
    "GET /suppressions": Operation(
        "listSuppressions",
        "List addresses that mail is not sent to",
        schemas_suppressions.Suppressions,
        {
            "ok": True,
            "suppressions": [
                {
                    "address": "gone@example.org",
                    "reason": "hard_bounce",
                    "event_id": 7,
                    "created_at": 1893456000,
                }
            ],
            "next_cursor": "Z29uZUBleGFtcGxlLm9yZw",
        },
        given=_TENANT | {"q": "example.org"},
        errors=(_TENANT_GONE,),
    ),
    "POST /suppressions": Operation(
        "addSuppressions",
        "Send no more mail to addresses",
        schemas_suppressions.Suppressed,
        {"ok": True, "added": 1, "updated": 0, "refused": []},
        given=_TENANT,
        sent={"address": "customer@example.org", "reason": "manual"},
        errors=(_TENANT_GONE, (400, "nothing_suppressed")),
    ),
    "DELETE /suppressions": Operation(
        "removeSuppression",
        "Send mail to an address again",
        schemas.Done,
        examples.DONE,
        given=_TENANT | {"address": "customer@example.org"},
        errors=(_TENANT_GONE, (404, "suppression_not_found")),
    ),
}
