"""The service about itself: probes, status and metrics."""

from collections import Counter
from typing import Any

from starlette.responses import Response

from mailproxy import __version__, metrics, shapes
from mailproxy.api import readiness
from mailproxy.api.answers import Answer, Json
from mailproxy.api.routing import Call
from mailproxy.api.wire import ReadyQuery
from mailproxy.errors import StorageUnavailable
from mailproxy.shapes import present


async def health(call: Call) -> Answer:
    return {"ok": True, "status": "ok", "version": __version__}


async def livez(call: Call) -> Answer:
    return {"ok": True}


async def readyz(call: Call, query: ReadyQuery) -> Answer:
    """200 when mail can be accepted, else 503; `?verbose` names each check and what is wrong, also what is not
    `required` for that."""
    checks = await readiness.required(call)
    is_ready = not any(check.problem for check in checks)
    answer: dict[str, Any] = {"ok": is_ready, "status": "ready" if is_ready else "not ready"}
    if query.verbose is not None:
        checks += await readiness.useful(call)
        answer["checks"] = {check.name: check.shown() for check in checks}
    return Json(answer, 200 if is_ready else 503)


async def status(call: Call) -> Answer:
    """A tenant sees its own messages and reports only."""
    overview = await call.store.fleet.overview(call.caller.own(None))
    roles = Counter(process.role for process in await call.store.fleet.processes())
    return present(
        {
            "ok": True,
            "active": overview.active,
            "scheduler_active": overview.active,
            "pending": overview.pending,
            "oldest_pending_age": overview.oldest_pending_age,
            "reports_pending": overview.reports_pending,
            "reports_dead": overview.reports_dead,
            "processes": dict(sorted(roles.items())),
            "version": __version__,
            "node": call.services.node,
        }
    )


async def stats(call: Call) -> Answer:
    """Counted for people: it reads every message's fate."""
    found, totals = await call.store.fleet.overview(), await call.store.fleet.totals()
    return {"ok": True, **shapes.stats(found, totals)}


async def show_metrics(call: Call) -> Answer:
    """What processes counted, and gauges from the database unless it is away."""
    fleet = call.store.fleet
    try:
        snapshot = metrics.Snapshot(
            await fleet.overview(),
            await fleet.depths(),
            await fleet.account_gauges(),
            await fleet.processes(),
            await call.store.inbound.failing(),
        )
    except StorageUnavailable:
        snapshot = None
    return Response(metrics.exposition(snapshot), media_type=metrics.CONTENT_TYPE)
