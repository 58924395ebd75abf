"""The service's programs as tasks of one event loop; what the supervisor does for processes, done for tasks.

A single sender serves all accounts. A program that ends is started anew, after the supervisor's pauses.
"""

import asyncio
import itertools
import os
import secrets
import time
from contextlib import suppress
from functools import partial

from mailproxy import log
from mailproxy.config import Settings
from mailproxy.errors import StorageUnavailable
from mailproxy.model import Seconds
from supervisor.backoff import History, after_death
from workers import maintenance, scout
from workers.control import AccountSlot, Assign, Idle, Ready, Wake, Wanted, decode
from workers.frame import FAILED, TRY_AGAIN, Entry, Life
from workers.imap import loop as imap
from workers.reporter import loop as reporter
from workers.sender import loop as sender

SCOUT, SENDER = "scout", "sender"
ASIDE: dict[str, Entry] = {
    SCOUT: scout.entry,
    "reporter": reporter.entry,
    "imap": imap.entry,
    "maintenance": maintenance.entry,
}

_log = log.get(__name__)


class Programs:
    """Run from `start` to `stop`."""

    def __init__(self, settings: Settings, node: str) -> None:
        self._settings = settings
        self._owner = f"{node}/embedded.{os.getpid()}#{secrets.token_hex(4)}"
        self._numbers = itertools.count(1)
        self._stopping = asyncio.Event()
        self._lives: dict[str, Life] = {}
        self._up: set[str] = set()
        self._wanted: tuple[AccountSlot, ...] = ()
        self._served: set[AccountSlot] = set()
        self._work = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        parts = [self._keep(role, entry) for role, entry in ASIDE.items()]
        self._tasks = [asyncio.create_task(part) for part in (*parts, self._keep(SENDER, sender.entry))]

    async def stop(self) -> None:
        """Every program drains as on SIGTERM: replies to dots are waited for, what has no intent is given back.

        Cancelled, it cuts them off, as a second SIGTERM does in the end.
        """
        self._stopping.set()
        self._work.set()
        for life in self._lives.values():
            life.stop(self._settings.drain_seconds)
        try:
            await asyncio.wait(self._tasks)
        except asyncio.CancelledError:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
            raise

    def look(self) -> None:
        """Let the scout look for work now, whether or not a hint would have reached it."""
        if life := self._lives.get(SCOUT):
            life.inbox.put_nowait(Wake(()))

    async def _keep(self, role: str, entry: Entry) -> None:
        """Start the program again whenever it ends; a sender only when there is something to send."""
        history, succeeds = History(), tuple[str, ...]()
        while True:
            if role == SENDER:
                await self._work.wait()
            if self._stopping.is_set():
                return
            life = self._new_life(role, succeeds)
            began = time.monotonic()
            code = await self._run(life, entry)
            is_up = life.owner in self._up
            self._up.discard(life.owner)
            # Only after an orderly end is it certain that nothing of a program is still at work.
            succeeds = (life.owner,) if code == TRY_AGAIN else ()
            history, wait = after_death(
                history, lived=time.monotonic() - began, at_birth=code == TRY_AGAIN or not is_up
            )
            await self._rest(0.0 if code is None and is_up else wait)

    def _new_life(self, role: str, succeeds: tuple[str, ...]) -> Life:
        number = next(self._numbers)
        life = Life(self._settings, role, number, f"{self._owner}.{role}.{number}", succeeds)
        life.write = partial(self._hear, life)
        if role == SENDER:
            life.assigned, self._served = self._wanted, set(self._wanted)
        self._lives[role] = life
        return life

    async def _run(self, life: Life, entry: Entry) -> int | None:
        try:
            return await entry(life)
        except StorageUnavailable as error:
            _log.warning("program_interrupted", role=life.role, error=error.detail)
        except Exception as error:  # noqa: BLE001 as in a process of its own: logged, and started again
            _log.error("program_failed", role=life.role, error=str(error), exc_info=True)
        finally:
            del self._lives[life.role]
        return FAILED

    async def _rest(self, seconds: Seconds) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _hear(self, life: Life, line: bytes) -> None:
        match decode(line):
            case Ready():
                self._up.add(life.owner)
            case Wanted(accounts):
                self._wanted = accounts
                self._deal()
            case Idle(accounts):
                self._served.difference_update(accounts)
                self._deal()
            case _:
                pass

    def _deal(self) -> None:
        """Tell the sender which accounts have work, or let one be started."""
        if self._wanted:
            self._work.set()
        elif not self._stopping.is_set():
            self._work.clear()
        if life := self._lives.get(SENDER):
            served = tuple(account for account in self._wanted if account in self._served)
            more = tuple(account for account in self._wanted if account not in self._served)
            self._served.update(more)
            if more:
                life.inbox.put_nowait(Assign(more))
            if served:
                life.inbox.put_nowait(Wake(served))
