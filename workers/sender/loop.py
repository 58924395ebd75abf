"""A sender: claim, hand over, settle, for the accounts it was given. Begin here.

The entry opens the store, replays what dead processes of this node left in their journals, and keeps its leases
alive. Each account is an `AccountSender` (account.py); one message's way is in handover.py.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Coroutine
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Protocol

from mailproxy import egress, keyfile, log
from mailproxy.config import Settings
from mailproxy.errors import StorageUnavailable
from mailproxy.model import Account, AccountCondition, AccountPk, Epoch, Seconds
from mailproxy.reach import Reach
from mailproxy.retry import RetryPolicy
from mailproxy.store import Store
from mailproxy.vault import VaultError
from sql.open import open_store
from workers.control import AccountSlot, Assign, Idle, Reaped, Wake
from workers.frame import TRY_AGAIN, Life, drain
from workers.sender import recovery
from workers.sender.account import (
    BREAKER_REST,
    DATABASE_PAUSE,
    LOOK_AGAIN,
    AccountGone,
    AccountSender,
    LeaseLost,
    Sending,
)
from workers.sender.attachments import Attachments
from workers.sender.connect import Timeouts
from workers.sender.groups import Intents, Settlements
from workers.sender.handover import Breakpoint, Gate, HandOver, passes
from workers.sender.journal import Journal
from workers.sender.origin import Origins, origin_of
from workers.sender.prepare import Preparation, Render, prepare
from workers.watermark import QUICK

RENEWALS_PER_LEASE = 3
LINGER: Seconds = 2.0
LEASE_PAUSE: Seconds = 0.1
JOURNALS = "journal"

_log = log.get(__name__)


class Opening(Protocol):
    def __call__(self, settings: Settings, *, role: str) -> Awaitable[Store]: ...


async def entry(
    life: Life,
    *,
    at: Breakpoint = passes,
    timeouts: Timeouts | None = None,
    opening: Opening = open_store,
    render: Render = prepare,
    polling: bool = True,
    quick: Seconds = QUICK,
) -> int | None:
    """The life of a sender process; all arguments but the first are for tests."""
    settings = life.settings
    store = await opening(settings, role=life.role)
    try:
        instance = await store.fleet.instance()
        # Epochs mean nothing in another database, such as one made anew in the same place.
        journals = Path(settings.state_dir) / JOURNALS / f"{instance:015x}"
        retry = RetryPolicy(settings.max_retries, settings.retry_delays)
        epoch = await store.fleet.register(life.owner, keyfile.node_id(settings), life.role)
        await recovery.replay_orphans(store.queue, journals, retry)
        book = _open_journal(journals, epoch)
        gate = Gate(fence=time.monotonic() + settings.lease_seconds)
        settlements = Settlements(store.queue, epoch, covered=book.truncate, settled=lambda _: at("finished"))
        intents = Intents(store.queue, epoch, broken=gate.close)
        origins = Origins(store.administration, settings, await origin_of(store, settings, instance))
        preparation = Preparation(store.queue, epoch, origins, render, settings.attachment_timeout)
        shared = HandOver(preparation, intents, book, gate, settlements.flushed, at)
        sending = _sending(
            settings, store, epoch, instance, journals, shared, settlements, timeouts, polling, quick
        )
        try:
            return await Sender(life, sending, gate, book).run()
        finally:
            book.close(remove=False)
            await sending.attachments.aclose()
    finally:
        await store.aclose()


def _sending(
    settings: Settings,
    store: Store,
    epoch: Epoch,
    instance: int,
    journals: Path,
    shared: HandOver,
    settlements: Settlements,
    timeouts: Timeouts | None,
    polling: bool,
    quick: Seconds,
) -> Sending:
    return Sending(
        store=store,
        epoch=epoch,
        node=keyfile.node_id(settings),
        journals=journals,
        handover=shared,
        settlements=settlements,
        retry=RetryPolicy(settings.max_retries, settings.retry_delays),
        timeouts=timeouts or Timeouts(),
        connections=settings.sender_connections,
        claim_size=settings.batch_size_per_account,
        idle_after=settings.idle_seconds,
        look_every=_look_every(settings) if polling else inf,
        foreign_grace=recovery.FOREIGN_GRACE_LEASES * settings.lease_seconds,
        reach=Reach(egress.allowed(settings.egress_allow)),
        attachments=Attachments(store, epoch, instance, settings),
        quick=quick,
    )


def _look_every(settings: Settings) -> Seconds:
    if settings.test_mode:
        return inf
    return LOOK_AGAIN if settings.dispatch_on_arrival else settings.send_loop_interval


def _open_journal(directory: Path, epoch: Epoch) -> Journal:
    try:
        return Journal.open(directory, epoch)
    except OSError as e:
        raise StorageUnavailable(f"The journal cannot be written: {e}") from e


class Sender:
    """The accounts of one process, its leases, and its end."""

    def __init__(self, life: Life, sending: Sending, gate: Gate, book: Journal) -> None:
        self._life = life
        self._sending = sending
        self._store: Store = sending.store
        self._gate = gate
        self._book = book
        self._succeeds = set(life.succeeds)
        self._accounts: dict[AccountSlot, AccountSender] = {}
        self._tasks: dict[AccountSlot, asyncio.Task[None]] = {}
        self._lease_lost = False
        self._changed = asyncio.Event()

    async def run(self) -> int | None:
        """Serve until stopped, idle or broken; what was handed over is settled before the end if it can be."""
        aside = [self._aside(part) for part in (self._sending.settlements.run(), self._keep_leases())]
        for account in self._life.assigned:
            self._serve(account)
        self._life.ready()
        aside.append(self._aside(self._listen()))
        try:
            await self._until_done()
            await self._wind_up()
        finally:
            left = [*aside, *self._tasks.values()]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        return TRY_AGAIN if self._gate.closed.is_set() else None

    def _aside(self, part: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(part)
        task.add_done_callback(self._broke)
        return task

    def _broke(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()):
            _log.error("sender_broke", error=str(error), exc_info=error)
            self._gate.close(f"a bug: {type(error).__name__}")

    async def _until_done(self) -> None:
        while not (self._life.stopping.is_set() or self._gate.closed.is_set()):
            self._changed.clear()
            waits = [self._life.stopping, self._gate.closed, self._changed]
            tasks = [asyncio.ensure_future(event.wait()) for event in waits]
            await asyncio.wait(
                tasks, timeout=None if self._tasks else LINGER, return_when=asyncio.FIRST_COMPLETED
            )
            idle = not any(task.done() for task in tasks) and not self._tasks
            for task in tasks:
                task.cancel()
            if idle:
                return

    # -- accounts come and go

    def _serve(self, account: AccountSlot) -> None:
        if account in self._tasks:
            self._wake(account)
            return
        task = asyncio.create_task(self._account(account))
        self._tasks[account] = task
        task.add_done_callback(partial(self._left, account))

    def _wake(self, account: AccountSlot) -> None:
        if sender := self._accounts.get(account):
            sender.wake()

    async def _account(self, account: AccountSlot) -> None:
        pk, slot = account
        taken = await self._lease(pk, slot)
        if taken is None:
            return
        known = await self._known(account)
        if known is None or self._life.stopping.is_set():
            return
        sender = AccountSender(self._sending, known, slot, unclean=taken)
        self._accounts[account] = sender
        with contextlib.suppress(AccountGone):
            await sender.run()
        if not sender.stopping:
            await self._sending.settlements.flushed()
            await self._store.queue.release_leases(self._sending.epoch, account)

    async def _known(self, account: AccountSlot) -> Account | None:
        """An account whose secret cannot be opened waits for an operator; the others go on."""
        pk, _ = account
        try:
            return await self._store.directory.sending_account(pk)
        except VaultError as e:
            rest = await self._store.queue.back_off(
                pk,
                condition=AccountCondition.BREAKER_OPEN,
                reason="credentials",
                cause=e.detail,
                delay=BREAKER_REST,
            )
            if rest.is_new:
                _log.error("account_trouble", account_pk=pk, condition="breaker_open", cause=e.detail)
            await self._store.queue.release_leases(self._sending.epoch, account)
            return None

    async def _lease(self, pk: AccountPk, slot: int) -> bool | None:
        """Whether its former holder left without giving it back; None when somebody else goes on holding it."""
        ttl = self._life.settings.lease_seconds
        patience = time.monotonic() + LINGER
        while not self._life.stopping.is_set():
            asked = time.monotonic()
            try:
                taken = await self._store.queue.take_lease(
                    pk, slot, epoch=self._sending.epoch, ttl=ttl, succeeds=sorted(self._succeeds)
                )
            except StorageUnavailable as e:
                _log.warning("cannot_lease", account=pk, error=e.detail)
                await asyncio.sleep(DATABASE_PAUSE)
                continue
            if taken is None:
                if time.monotonic() > patience:
                    return None
                await asyncio.sleep(LEASE_PAUSE)
                continue
            self._gate.fence = min(self._gate.fence, asked + ttl)
            return taken.unclean
        return None

    def _left(self, account: AccountSlot, task: "asyncio.Task[None]") -> None:
        del self._tasks[account]
        self._changed.set()
        error = None if task.cancelled() else task.exception()
        if error is None:
            self._accounts.pop(account, None)
            if not self._life.stopping.is_set() and not self._gate.closed.is_set():
                self._life.tell(Idle((account,)))
            return
        _log.error("account_ended", account=account[0], error=str(error), exc_info=_unexpected(error))
        self._lease_lost = isinstance(error, LeaseLost)
        self._gate.close(str(error))

    async def _listen(self) -> None:
        while True:
            match await self._life.inbox.get():
                case Assign(accounts):
                    for account in accounts:
                        self._serve(account)
                case Wake(accounts):
                    for account in accounts:
                        self._wake(account)
                case Reaped(owners):
                    self._succeeds.update(owners)
                    await self._replay()

    async def _replay(self) -> None:
        with contextlib.suppress(StorageUnavailable):
            await recovery.replay_orphans(self._store.queue, self._book.path.parent, self._sending.retry)

    # -- leases

    async def _keep_leases(self) -> None:
        """Renew three times a lease; without an answer in time the gate's fence passes by itself."""
        ttl = self._life.settings.lease_seconds
        while True:
            await asyncio.sleep(ttl / RENEWALS_PER_LEASE)
            asked = time.monotonic()
            held = set(self._accounts)
            try:
                kept = await self._store.queue.renew_leases(
                    self._sending.epoch, sorted({pk for pk, _ in held | self._tasks.keys()}), ttl
                )
                alive = await self._store.fleet.beat(self._sending.epoch)
            except StorageUnavailable as e:
                _log.warning("leases_not_renewed", error=e.detail)
                continue
            if not alive or held & set(self._accounts) - kept:
                self._lease_lost = True
                self._gate.close("a lease was lost")
            self._gate.fence = asked + ttl

    # -- the end

    async def _wind_up(self) -> None:
        """Stop claiming, give back what has no intent, wait for replies to dots, commit, give leases back."""
        if not self._life.stopping.is_set():
            # A lost lease's next owner has settled what is in doubt: replies can only improve on that.
            self._life.stop(LINGER if self._lease_lost else self._life.settings.drain_seconds)
        left = self._life.drain_left
        await asyncio.gather(
            *(account.stop(partial(drain, left=left)) for account in list(self._accounts.values()))
        )
        # A claim under way brings rows that have to be given back; cut off, nobody knows whether it did.
        if await drain(self._tasks.values(), left):
            self._gate.close("cut off while it claimed")
        if await self._flush(max(left(), LINGER)):
            self._book.close(remove=True)
            await self._leave()
        else:
            self._book.close(remove=False)

    async def _flush(self, within: Seconds) -> bool:
        try:
            async with asyncio.timeout(within):
                await self._sending.settlements.flushed()
        except TimeoutError:
            _log.error("outcomes_left_to_journal", waiting=self._sending.settlements.waiting)
            return False
        return True

    async def _leave(self) -> None:
        """A closed gate may leave claimed rows: only for a lease not given back does the next owner look for them."""
        try:
            if not self._gate.closed.is_set():
                await self._store.queue.release_leases(self._sending.epoch)
            await self._store.fleet.leave(self._sending.epoch)
        except StorageUnavailable as e:
            _log.warning("leases_not_released", error=e.detail)


def _unexpected(error: BaseException) -> BaseException | None:
    return None if isinstance(error, LeaseLost | StorageUnavailable) else error
