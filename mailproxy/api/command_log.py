"""The command log: looked at in pages, or taken away as a whole."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from starlette.responses import StreamingResponse

from mailproxy import shapes
from mailproxy.api import paging
from mailproxy.api.answers import Answer
from mailproxy.api.routing import Call
from mailproxy.api.wire_instance import CommandsFilter, CommandsQuery
from mailproxy.audit import CommandFilter, Entry
from mailproxy.store import Administration

LINES = "application/x-ndjson"
_PAGE = 1000


async def listing(call: Call, query: CommandsQuery) -> Answer:
    """The newest first. What the command line does to a database of its own is not in it."""
    found = await call.store.administration.newest_commands(
        _selection(query), before=paging.number(query.cursor), limit=query.limit + 1
    )
    entries, more = paging.page(found, query.limit, lambda entry: str(entry.id))
    commands = [shapes.command(entry) for entry in entries]
    return {"ok": True, "commands": commands, "total": len(commands), **more}


async def export(call: Call, query: CommandsFilter) -> Answer:
    """The oldest first: a JSON object a line, as many as there are."""
    wanted = _selection(query)
    log = call.store.administration
    first = await log.oldest_commands(wanted, after=None, limit=_PAGE)
    return StreamingResponse(_lines(log, wanted, first), media_type=LINES)


async def _lines(log: Administration, wanted: CommandFilter, page: Sequence[Entry]) -> AsyncIterator[str]:
    while page:
        yield "".join(f"{_line(shapes.command(entry))}\n" for entry in page)
        page = await log.oldest_commands(wanted, after=page[-1].id, limit=_PAGE)


def _line(shown: dict[str, Any]) -> str:
    return json.dumps(shown, separators=(",", ":"))


def _selection(query: CommandsFilter) -> CommandFilter:
    return CommandFilter(
        tenant_id=query.tenant_id,
        since=query.since if query.since is not None else query.since_ts,
        until=query.until if query.until is not None else query.until_ts,
        endpoint=query.endpoint or query.endpoint_filter,
    )
