"""The scout: one query tells which accounts of the node have work, and the supervisor is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from math import inf

from mailproxy import keyfile, log
from mailproxy.attendance import attend
from mailproxy.config import Settings
from mailproxy.errors import StorageUnavailable
from mailproxy.model import Seconds
from mailproxy.records import DueAccounts
from mailproxy.store import Store
from sql.open import open_store
from workers.control import AccountSlot, Wanted
from workers.frame import Life
from workers.lookout import QUICK, Lookout

SHORTEST: Seconds = 0.05
LONGEST: Seconds = 1.0
TOPIC = "queue"

_log = log.get(__name__)


async def entry(life: Life, *, polling: bool = True) -> int | None:
    """Look, tell, wait for a hint or for what is due next; a test that counts hints lets it not look unasked."""
    node = keyfile.node_id(life.settings)
    store = await open_store(life.settings, role=life.role)
    hinted = asyncio.Event()
    pause = Pause(life.settings, polling=polling)
    quick = QUICK if pause.is_adaptive else inf
    lookout = Lookout(store.queue, node, life.settings.account_slots, hinted.set, quick)
    known = attend(store.fleet, life.owner, node, life.role, every=life.settings.lease_seconds / 3)
    aside = [asyncio.create_task(part) for part in (_hints(store, hinted), _asked(life, hinted), known)]
    try:
        life.ready()
        await _scout(life, lookout, hinted, pause)
    finally:
        await lookout.stop()
        for task in aside:
            task.cancel()
        await asyncio.gather(*aside, return_exceptions=True)
        await store.aclose()
    return None


async def _scout(life: Life, lookout: Lookout, hinted: asyncio.Event, pause: "Pause") -> None:
    told: tuple[AccountSlot, ...] | None = None
    unanswered = False
    if life.settings.test_mode:
        await _wait(life, hinted, None)
    while not life.stopping.is_set():
        was_hinted = hinted.is_set()
        hinted.clear()
        due = await _look(lookout, was_hinted)
        if due is None:
            if was_hinted:
                pause.shorten()
            unanswered = unanswered or was_hinted
        else:
            was_hinted, unanswered = was_hinted or unanswered, False
            wanted = tuple((account.account_pk, account.slot) for account in due.accounts)
            # Work that came while earlier work was still under way looks the same, and is news all the same.
            if wanted != told or (was_hinted and wanted):
                life.tell(Wanted(wanted))
                pause.shorten()
            told = wanted
        await _wait(life, hinted, pause.next(due))


async def _look(lookout: Lookout, hinted: bool) -> DueAccounts | None:
    try:
        return await lookout.next(hinted=hinted)
    except StorageUnavailable as e:
        _log.warning("cannot_look", error=e.detail)
        return None


class Pause:
    """50 ms after a change, doubling to 1 s, never beyond what is due next; fixed when polling is asked for."""

    def __init__(self, settings: Settings, *, polling: bool) -> None:
        self._fixed = None if settings.dispatch_on_arrival else max(settings.send_loop_interval, SHORTEST)
        self._on_request = settings.test_mode or not polling
        self._seconds = SHORTEST

    @property
    def is_adaptive(self) -> bool:
        """Whoever is to look at set times, or when asked, must not find out more in between."""
        return self._fixed is None and not self._on_request

    def shorten(self) -> None:
        self._seconds = SHORTEST / 2

    def next(self, due: DueAccounts | None) -> Seconds | None:
        """None waits for a hint alone: in test mode only run-now dispatches."""
        if self._on_request:
            return None
        if self._fixed is not None:
            return self._fixed
        self._seconds = min(self._seconds * 2, LONGEST)
        soon = due.next_due_in if due is not None else None
        return self._seconds if soon is None else max(min(self._seconds, soon), 0.005)


async def _wait(life: Life, hinted: asyncio.Event, seconds: Seconds | None) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in (hinted, life.stopping)]
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()


async def _hints(store: Store, hinted: asyncio.Event) -> None:
    async with store.wakeups.listen() as topics:
        async for topic in _only(topics, TOPIC):
            _log.debug("hint", topic=topic)
            hinted.set()


async def _asked(life: Life, hinted: asyncio.Event) -> None:
    """Whoever runs us in its own event loop need not go through the database to say that there is work."""
    while True:
        await life.inbox.get()
        hinted.set()


async def _only(topics: AsyncIterator[str], wanted: str) -> AsyncIterator[str]:
    with contextlib.suppress(asyncio.CancelledError):
        async for topic in topics:
            if topic == wanted:
                yield topic
