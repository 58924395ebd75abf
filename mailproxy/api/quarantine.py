"""Mail that could not be read: it lies in its mailbox, and why is told here."""

from mailproxy import shapes
from mailproxy.api import paging
from mailproxy.api.answers import Answer
from mailproxy.api.routing import Call
from mailproxy.api.wire_instance import QuarantineQuery


async def listing(call: Call, query: QuarantineQuery) -> Answer:
    """The newest first."""
    found = await call.store.inbound.quarantined(
        query.tenant_id, before=paging.number(query.cursor), limit=query.limit + 1
    )
    shown, more = paging.page(found, query.limit, lambda mail: str(mail.number))
    return {"ok": True, "mails": [shapes.set_aside(mail) for mail in shown], **more}
