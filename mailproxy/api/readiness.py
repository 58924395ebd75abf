"""What a node examines of itself for /readyz: what must hold for mail to be accepted, and what else is wrong."""

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailproxy.api.routing import Call
from mailproxy.errors import StorageUnavailable
from mailproxy.model import Instant, Seconds
from mailproxy.shapes import present
from mailproxy.store import Fleet

SILENT: Seconds = 60.0
NEEDED = ("scout", "reporter", "maintenance", "imap")
_UNREADABLE = "not known: the database does not answer"


@dataclass(frozen=True, slots=True)
class Check:
    """`required`: without it no mail is accepted, and the node says that it is not ready."""

    name: str
    required: bool
    problem: str | None

    def shown(self) -> dict[str, Any]:
        return present({"ok": self.problem is None, "required": self.required, "reason": self.problem})


async def required(call: Call) -> list[Check]:
    return [
        Check("storage", True, await _storage(call)),
        Check("schema", True, await _asked(call.store.fleet.lacking_schema)),
        Check("disk", True, call.services.intake.disk_problem),
    ]


async def useful(call: Call) -> list[Check]:
    """Mail is accepted without these, so that a balancer must not take the node away: it waits, and is not lost."""

    async def workers() -> str | None:
        return await _workers(call.store.fleet, time.time())

    async def mailboxes() -> str | None:
        return _mailboxes(await call.store.inbound.failing())

    return [
        Check("workers", False, await _asked(workers)),
        Check("journal", False, _unwritable(call.services.settings.state_dir / "journal")),
        Check("mailboxes", False, await _asked(mailboxes)),
    ]


async def _storage(call: Call) -> str | None:
    try:
        await call.store.fleet.check()
    except StorageUnavailable as problem:
        return problem.detail
    return None


async def _asked(ask: Callable[[], Awaitable[str | None]]) -> str | None:
    try:
        return await ask()
    except StorageUnavailable:
        return _UNREADABLE


async def _workers(fleet: Fleet, now: Instant) -> str | None:
    alive = {process.role for process in await fleet.processes() if process.seen_at > now - SILENT}
    missing = [role for role in NEEDED if role not in alive]
    if not missing:
        return None
    return f"no {' and no '.join(missing)} lives on any node: run `mail-proxy workers` or look at its log"


def _mailboxes(failing: int) -> str | None:
    if failing:
        return f"{failing} cannot be read: GET /instance/bounce and GET /account/ID say why"
    return None


def _unwritable(directory: Path) -> str | None:
    """Whether outcomes could not be kept here; senders make the directory when they first need it."""
    place = next(one for one in (directory, *directory.parents) if one.exists())
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        return None
    return f"{place} cannot be written, so nothing can be sent from this node: check GMP_STATE_DIR"
