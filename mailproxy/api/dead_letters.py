"""Reports that were set aside: listed, reported again, or given up. The admin who names no tenant means all."""

from mailproxy import shapes
from mailproxy.api import paging
from mailproxy.api.answers import Answer
from mailproxy.api.refusals import Refusal
from mailproxy.api.routing import Call
from mailproxy.api.wire import DeadLettersQuery, Letters, TenantQuery
from mailproxy.model import TenantPk
from mailproxy.reports import Selection

_NOBODY = TenantPk(0)


async def listing(call: Call, query: DeadLettersQuery) -> Answer:
    found = await call.store.dead_letters.listed(
        await _whose(call, query.tenant_id),
        Selection(since=query.since, until=query.until),
        after=_position(query.cursor),
        limit=query.limit + 1,
    )
    shown, more = paging.page(found, query.limit, lambda letter: str(letter.event_id))
    return {"ok": True, "dead_letters": [shapes.dead_letter(letter) for letter in shown], **more}


async def replay(call: Call, query: TenantQuery) -> Answer:
    """Without a body, all of the tenant's."""
    wanted = await call.body(Letters, optional=True)
    replayed = await call.store.dead_letters.replay(await _whose(call, query.tenant_id), _selection(wanted))
    await call.store.wakeups.announce("reports")
    return {"ok": True, "replayed": len(replayed), "not_found": _missing(wanted, replayed)}


async def discard(call: Call, query: TenantQuery, body: Letters) -> Answer:
    """Only what is named, since it cannot be undone."""
    if body.event_ids is None and body.since is None and body.until is None:
        raise Refusal(400, "Say which: event_ids, since or until", "nothing_selected")
    discarded = await call.store.dead_letters.discard(await _whose(call, query.tenant_id), _selection(body))
    return {"ok": True, "discarded": len(discarded), "not_found": _missing(body, discarded)}


async def _whose(call: Call, tenant_id: str | None) -> TenantPk | None:
    """None for everybody's; a tenant that does not exist has none."""
    if call.caller.is_admin and tenant_id is None:
        return None
    return await call.tenant(tenant_id) or _NOBODY


def _selection(wanted: Letters) -> Selection:
    return Selection(wanted.event_ids, wanted.since, wanted.until)


def _missing(wanted: Letters, found: list[int]) -> list[int]:
    return sorted(set(wanted.event_ids or ()).difference(found))


def _position(cursor: str | None) -> int:
    position = paging.decode(cursor)
    if position is None:
        return 0
    if not position.isascii() or not position.isdigit() or len(position) > 18:
        raise paging.invalid_cursor()
    return int(position)
