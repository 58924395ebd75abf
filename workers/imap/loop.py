"""Reads the mailboxes to which answers come: lease one that is due, visit it, give it back.

A mailbox has one reader over all nodes. Each has a task of its own here, so a slow or lying server delays no other.
"""

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from mailproxy import egress, instance, log
from mailproxy.config import Settings
from mailproxy.errors import StorageUnavailable
from mailproxy.inbound import Leased, Mailbox, Ours, of_instance
from mailproxy.keyfile import node_id
from mailproxy.model import Epoch, Seconds
from mailproxy.pec import reading as receipts
from mailproxy.reach import Reach
from mailproxy.retry import backoff
from mailproxy.store import Store
from sql.open import open_store
from workers.frame import TRY_AGAIN, Life
from workers.imap.session import Stage, Trouble, connect
from workers.imap.visit import LONGEST, PARKED_EVERY, LeaseLost, Visit

TOPIC = "bounces"
MOST_MAILBOXES = 200
MOST_IN_TURN = 10
REFUSED_LOGIN: Seconds = 60.0

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """How a reader works: it looks for mailboxes that are due every `look` seconds, or only when asked (None).

    `rest`: how long a mailbox rests after so many visits in a row that failed, by chance; `refused` at least after
    a refused login. It reads `most` mailboxes at once, and each for `longest` with one login.
    """

    look: Seconds | None = 5.0
    beat: Seconds = 5.0
    lease: Seconds = 15.0
    rest: Callable[[int, float], Seconds] = backoff
    refused: Seconds = REFUSED_LOGIN
    most: int = MOST_MAILBOXES
    longest: Seconds = LONGEST


@dataclass(slots=True, eq=False)
class _Reading:
    leased: Leased
    stir: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None
    visit: Visit | None = None
    gives_way: bool = False

    @property
    def of_account(self) -> bool:
        return self.leased.mailbox.account_pk is not None


@dataclass(slots=True, eq=False)
class Reader:
    """The mailboxes of one process. `at` is told each step, so that a test can end the process there."""

    store: Store
    settings: Settings
    epoch: Epoch
    ours: Ours
    reach: Reach
    threads: Executor
    terms: Terms
    succeeds: tuple[str, ...] = ()
    at: Callable[[str], None] = lambda step: None
    chance: Callable[[], float] = random.random
    _readings: dict[int, _Reading] = field(default_factory=dict, init=False)
    _asked: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _declared_dead: bool = field(default=False, init=False)

    async def run(self, stopping: asyncio.Event) -> int | None:
        """Read until `stopping`; TRY_AGAIN once declared dead."""
        async with asyncio.TaskGroup() as group:
            aside = [
                group.create_task(part) for part in (self._beat(), self._hear(), self._hear_stop(stopping))
            ]
            try:
                while not stopping.is_set() and not self._declared_dead:
                    await self._round()
            finally:
                await _ended([*aside, *(one.task for one in self._readings.values() if one.task)])
        return TRY_AGAIN if self._declared_dead else None

    async def _round(self) -> None:
        asked = self._asked.is_set()
        self._asked.clear()
        if asked:
            await self._stir()
        await self._look(asked=asked)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.terms.look):
                await self._asked.wait()

    async def _look(self, *, asked: bool) -> None:
        """Take on what is due; a mailbox that is held already counts as taken."""
        try:
            due = await self._due(asked=asked)
            for number, mailbox in enumerate(due):
                if mailbox.account_pk is not None and self._room <= 0:
                    self._make_room(len(due) - number)
                    return
                leased = await self.store.inbound.lease(
                    mailbox, epoch=self.epoch, ttl=self.terms.lease, succeeds=self.succeeds, asked=asked
                )
                if leased is not None and leased.pk not in self._readings:
                    reading = self._readings[leased.pk] = _Reading(leased)
                    reading.task = asyncio.create_task(self._serve(reading))
        except StorageUnavailable as error:
            _log.warning("storage_unavailable", error=str(error))

    @property
    def _room(self) -> int:
        """For mailboxes of accounts; the instance's own has always some."""
        return self.terms.most - 1 - sum(1 for one in self._readings.values() if one.of_account)

    async def _due(self, *, asked: bool) -> list[Mailbox]:
        bounces = instance.bounce(await self.store.administration.instance(), self.settings)
        own = of_instance(bounces)
        held = {one.leased.mailbox.account_pk for one in self._readings.values()}
        found = [own] if own is not None and None not in held else []
        return found + await self.store.inbound.account_mailboxes(
            bounces,
            held=sorted(pk for pk in held if pk is not None),
            succeeds=self.succeeds,
            asked=asked,
            limit=max(0, self._room) + MOST_IN_TURN,
        )

    def _make_room(self, wanted: int) -> None:
        """Others are due: as many of those that only wait for new mail, the longest first, come back in their turn."""
        waiting = [
            one for one in self._readings.values() if one.of_account and one.visit and one.visit.is_idle
        ]
        for one in waiting[:wanted]:
            one.gives_way = True
            one.stir.set()

    async def _stir(self) -> None:
        """End the visits under way, so that mailboxes are read at once and as they are set now."""
        for one in self._readings.values():
            one.stir.set()
        tasks = [one.task for one in self._readings.values() if one.task]
        if tasks:
            await asyncio.wait(tasks, timeout=self.terms.lease)

    async def _serve(self, reading: _Reading) -> None:
        leased = reading.leased
        ended: tuple[str | None, Seconds] | None = None
        try:
            ended = await self._visited(reading)
        except LeaseLost:
            _log.warning("mailbox_lease_lost", mailbox=leased.mailbox.name)
        except StorageUnavailable as error:
            _log.warning("storage_unavailable", mailbox=leased.mailbox.name, error=str(error))
        except Exception as error:  # noqa: BLE001 a bug met in one mailbox must not end the reading of the others
            _log.error("visit_failed", mailbox=leased.mailbox.name, error=str(error), exc_info=True)
            wait = self.terms.rest(leased.fails + 1, self.chance())
            ended = f"internal error: {type(error).__name__}", wait
        finally:
            await self._give_back(leased, ended)

    async def _give_back(self, leased: Leased, ended: tuple[str | None, Seconds] | None) -> None:
        """With the failure of its visit and its rest; of an interrupted one, None, nothing is known."""
        try:
            if ended is None:
                await self.store.inbound.leave(leased, self.epoch)
            else:
                await self.store.inbound.settle(leased, self.epoch, failure=ended[0], wait=ended[1])
        except StorageUnavailable as error:
            _log.warning("storage_unavailable", mailbox=leased.mailbox.name, error=str(error))
        finally:
            # Only now may it be leased again: to this process the database gives what it holds already.
            self._readings.pop(leased.pk, None)

    async def _visited(self, reading: _Reading) -> tuple[str | None, Seconds]:
        """Why the visit failed, if it did, and how long the mailbox may rest."""
        leased = reading.leased
        try:
            session = await connect(leased.mailbox, self.reach, self.threads)
            settings = self.settings
            terms = receipts.Terms.of(settings.pec_issuers, settings.pec_unverified)
            visit = reading.visit = Visit(
                self.store,
                self.epoch,
                self.ours,
                leased,
                session,
                self.threads,
                reading.stir,
                terms,
                self.at,
                self.terms.longest,
            )
            try:
                await visit.run()
            finally:
                await session.end()
        except Trouble as trouble:
            wait = self.terms.rest(leased.fails + 1, self.chance())
            wait = max(wait, self.terms.refused) if trouble.stage is Stage.LOGIN else wait
            _log.warning(
                "mailbox_trouble", mailbox=leased.mailbox.name, cause=str(trouble), next_try_in=round(wait, 1)
            )
            return str(trouble), wait
        if visit.goes_on or (reading.stir.is_set() and not reading.gives_way):
            return None, 0.0
        return None, min(
            leased.mailbox.interval, PARKED_EVERY
        ) if visit.is_waiting else leased.mailbox.interval

    async def _beat(self) -> None:
        while not self._declared_dead:
            with suppress(StorageUnavailable):
                self._declared_dead = not await self.store.fleet.beat(self.epoch)
                await self._renew()
            await asyncio.sleep(0 if self._declared_dead else self.terms.beat)
        _log.error("declared_dead", epoch=self.epoch)
        self._asked.set()

    async def _renew(self) -> None:
        mine = dict(self._readings)
        if not mine:
            return
        kept = await self.store.inbound.renew(self.epoch, list(mine), self.terms.lease)
        for pk in mine.keys() - kept:
            one = self._readings.get(pk)
            if one is mine[pk] and one.task is not None:
                one.task.cancel()

    async def _hear(self) -> None:
        async with self.store.wakeups.listen() as topics:
            async for topic in topics:
                if topic == TOPIC:
                    self._asked.set()

    async def _hear_stop(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._asked.set()


async def _ended(tasks: "list[asyncio.Task[None]]") -> None:
    """Cancel until it is heard: on Python 3.11 a `wait_for` that is just done swallows a cancellation."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=5.0)


async def entry(life: Life) -> int | None:
    """The program of a process that reads mailboxes."""
    settings = life.settings
    store = await open_store(settings, role=life.role)
    threads = ThreadPoolExecutor(MOST_MAILBOXES, thread_name_prefix="imap")
    try:
        ours = Ours(await store.fleet.instance(), await store.administration.proof_key())
        epoch = await store.fleet.register(life.owner, node_id(settings), life.role)
        life.ready()
        reader = Reader(
            store=store,
            settings=settings,
            epoch=epoch,
            ours=ours,
            reach=Reach(egress.allowed(settings.egress_allow)),
            threads=threads,
            terms=Terms(
                look=None if settings.test_mode else min(5.0, settings.bounce_poll_interval),
                beat=settings.lease_seconds / 3,
                lease=settings.lease_seconds,
            ),
            succeeds=life.succeeds,
        )
        ended = await reader.run(life.stopping)
        await store.fleet.leave(epoch)
        return ended
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        await store.aclose()
