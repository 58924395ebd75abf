"""One account in a sender: claims what can be sent soon, hands it over on its connections, settles it."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from typing import TypeVar

from mailproxy import log, metrics, payload
from mailproxy.errors import StorageUnavailable
from mailproxy.model import Account, AccountCondition, Epoch, Seconds
from mailproxy.outcome import AccountTrouble, Outcome, Refused, Sent, Stage, Withheld
from mailproxy.reach import Reach
from mailproxy.records import Claim, Claimed
from mailproxy.retry import RetryPolicy, backoff
from mailproxy.store import Store
from workers.sender import activity, recovery
from workers.sender.attachments import Attachments, Gathering
from workers.sender.claims import Claims
from workers.sender.connect import Timeouts
from workers.sender.groups import Settlements
from workers.sender.handover import HandOver, Progress, hand_over
from workers.sender.pool import Pool
from workers.sender.prepare import PutOff, Result, Work
from workers.sender.settlement import Attempt, Rules, above_limit, expired, put_off, settle

LARGEST_CLAIM = 200
LOOK_AGAIN: Seconds = 1.0
DATABASE_PAUSE: Seconds = 1.0
AHEAD: Seconds = 0.5
STUCK_AFTER: Seconds = 5.0
OLDEST_READY: Seconds = 30.0
ABOVE_LIMIT = "rate_limit_exceeded"
BREAKER_REST: Seconds = 365 * 86400.0

_log = log.get(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sending:
    """What a process's accounts share. Unasked they look for work every `look_every` seconds, or never."""

    store: Store
    epoch: Epoch
    node: str
    journals: Path
    handover: HandOver
    settlements: Settlements
    retry: RetryPolicy
    timeouts: Timeouts
    connections: int
    claim_size: int
    idle_after: Seconds
    look_every: Seconds
    foreign_grace: Seconds
    reach: Reach
    attachments: Attachments
    quick: Seconds


class LeaseLost(Exception):
    """Somebody else may own the account: the process must end (RELIABILITY §2.3)."""


class AccountGone(Exception):
    """The account was deleted, and its messages with it."""


class AccountSender:
    """Owns the lease of (account, slot) while `run` lasts."""

    def __init__(self, sending: Sending, account: Account, slot: int, *, unclean: bool) -> None:
        self._sending = sending
        self._account = account
        self._claims = Claims(sending.store.queue, account.pk, slot, sending.epoch, self.wake, sending.quick)
        self._recover_again = True
        self._unclean = unclean
        self._claim_lost = False
        self._rules = self._rules_of(account)
        self._pool = Pool(account, limit=sending.connections, timeouts=sending.timeouts, reach=sending.reach)
        self._gathering = Gathering(self._gathered, self._arrived)
        self._ready: deque[Work] = deque()
        self._running: dict[asyncio.Task[None], Progress | None] = {}
        self._woken = asyncio.Event()
        self._limited = False
        self._in_trouble = False
        self._was_in_trouble = True
        self._fails = 0
        self._rate = activity.Rate()
        self._settled_at = time.monotonic()
        self.metrics = metrics.account(account.tenant_id, account.id)
        self.stopping = False

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        """Claim and send until idle or told to stop; raises LeaseLost."""
        idle_since = time.monotonic()
        look_at = idle_since
        try:
            while not self.stopping:
                asked = self._woken.is_set()
                self._woken.clear()
                if self._ready and time.monotonic() - self._settled_at > OLDEST_READY:
                    self._give_back(self._ready)
                if asked or time.monotonic() >= look_at:
                    look_at = time.monotonic() + await self._claim_some()
                if self._backlog() or self._recover_again:
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since >= self._sending.idle_after:
                    return
                await self._sleep(look_at - time.monotonic())
        except asyncio.CancelledError:
            self._cut_off()
            raise
        finally:
            await self._claims.stop()
            await self._gathering.stop()
            self._give_back(self._ready)
            await self._pool.close()

    async def stop(self, drained: Callable[[set[asyncio.Task[None]]], Awaitable[object]]) -> None:
        """Give back what has no intent yet, and let the rest come to its end."""
        self.stopping = True
        self.wake()
        await self._gathering.stop()
        self._give_back(self._ready)
        for task, progress in list(self._running.items()):
            if progress is None or not progress.committed:
                task.cancel()
        try:
            if self._running:
                await drained(set(self._running))
        finally:
            self._cut_off()

    def _cut_off(self) -> None:
        for task in self._running:
            task.cancel()

    # -- step 1

    async def _claim_some(self) -> Seconds:
        """Claim up to what the connections can take soon; returns how long there is nothing to do unless woken."""
        try:
            if self._claim_lost:
                await self._unclaim()
            if self._recover_again:
                await self._recover()
            wanted = self._room()
            if wanted <= 0:
                return LOOK_AGAIN
            self._claim_lost = True
            claim = await self._claims.next(wanted)
            await self._take(claim)
            self._claim_lost = False
        except StorageUnavailable as e:
            _log.warning("cannot_claim", account=self._account.id, error=e.detail)
            return DATABASE_PAUSE
        if len(claim.messages) == wanted:
            return 0.0
        if self._recover_again:
            return LOOK_AGAIN
        every = self._sending.look_every
        return every if claim.wait is None or every == inf else min(claim.wait, every)

    def _room(self) -> int:
        """Free connections or half a second's work, whichever is more (DESIGN §7)."""
        connections = self._sending.connections
        soon = max(self._sending.claim_size, int(self._rate.per_second * AHEAD))
        target = connections + min(soon, self._account.batch_size or LARGEST_CLAIM)
        backlog = self._backlog()
        stuck = len(self._running) >= connections and time.monotonic() - self._settled_at > STUCK_AFTER
        if stuck or backlog * 2 > target:
            return 0
        return min(target - backlog, self._account.batch_size or LARGEST_CLAIM)

    def _backlog(self) -> int:
        return len(self._gathering) + len(self._ready) + len(self._running)

    async def _take(self, claim: Claim) -> None:
        if claim.lease_lost:
            await self._reload()
            raise LeaseLost(self._account.id)
        self._sending.handover.at("claimed")
        self._fails = claim.fails
        if claim.bereft:
            self._recover_again = self._unclean = True
        if claim.rests:
            self.metrics.rate_limited.inc()
            self.metrics.deferred.inc()
        if claim.messages and claim.account_version != self._account.version:
            await self._reload()
        if claim.messages:
            self._limited = claim.limited
        for message in claim.messages:
            activity.claimed(self._account, message)
            if message.expired:
                self._sending.settlements.add(expired(Attempt.of(message)))
            elif claim.above_limit:
                self._refuse(message)
            else:
                self._admit(message)
        self._start()

    def _admit(self, message: Claimed) -> None:
        """A suspect waits for its turn with everything that might be its fault."""
        if not message.left_behind and not payload.may_have_attachments(message.payload):
            self._ready.append(Work(message))
        elif message.suspect:
            self._ready.append(Work(message, gather=partial(self._gathered, message)))
        else:
            self._gathering.begin(message)

    async def _gathered(self, message: Claimed) -> Result:
        return await self._sending.attachments.of(self._account, message)

    def _arrived(self, message: Claimed, result: Result) -> None:
        if isinstance(result, Work):
            self._ready.append(result)
            self._start()
        elif isinstance(result, PutOff):
            self._sending.settlements.add(put_off(Attempt.of(message), result.delay))
        else:
            self._record(Progress(Work(message)), result)
        self.wake()

    def _refuse(self, message: Claimed) -> None:
        """What the account's limit leaves no room for ends here when it is to be rejected, not deferred."""
        outcome = Refused(Stage.PREPARE, ABOVE_LIMIT)
        settlement = above_limit(Attempt.of(message), ABOVE_LIMIT)
        self._sending.settlements.add(settlement)
        self.metrics.rate_limited.inc()
        activity.settled(self._account, self.metrics, message, outcome, settlement, time.monotonic())

    async def _reload(self) -> None:
        account = await self._sending.store.directory.sending_account(self._account.pk)
        if account is None:
            raise AccountGone(self._account.id)
        self._account = account
        self._rules = self._rules_of(account)
        self._pool.update(account)

    async def _unclaim(self) -> None:
        """A claim whose answer was lost may have taken rows that nobody here knows of."""
        await self._sending.settlements.flushed()
        running = [progress.message.id for progress in self._running.values() if progress]
        known = [*running, *(work.message.id for work in self._ready), *self._gathering.messages]
        freed = await self._sending.store.queue.unclaim(self._account.pk, self._sending.epoch, known)
        self._claim_lost = False
        self._claims.given_back(freed)
        if freed:
            _log.warning("claim_given_back", account=self._account.id, messages=freed)

    async def _recover(self) -> None:
        if self._unclean:
            await recovery.believe_others(
                self._sending.store.queue, self._sending.journals, self._sending.retry, self._sending.epoch
            )
            self._unclean = False
        found = await recovery.recover(
            self._sending.store.queue,
            self._account,
            self._rules,
            epoch=self._sending.epoch,
            node=self._sending.node,
            foreign_grace=self._sending.foreign_grace,
            add=self._sending.settlements.add,
        )
        self.metrics.unknown.inc(len(found.in_doubt))
        self.metrics.errors.inc(len(found.poisoned))
        self._recover_again = found.left > 0
        self._claims.given_back(found.freed)

    # -- steps 2 to 6

    def _start(self) -> None:
        starting = sum(progress is None for progress in self._running.values())
        free = self._sending.connections - len(self._running)
        for _ in range(min(len(self._ready) - starting, free)):
            task = asyncio.create_task(self._work())
            self._running[task] = None
            task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        del self._running[task]
        self.wake()
        if not task.cancelled() and (error := task.exception()):
            _log.error("hand_over_broke", account=self._account.id, exc_info=error)
            self._sending.handover.gate.close(f"a bug: {type(error).__name__}")

    async def _work(self) -> None:
        """One connection's worth of hand-overs, one after the other."""
        task = asyncio.current_task()
        assert task is not None
        while self._ready and not self.stopping and not self._in_trouble:
            progress = Progress(self._ready.popleft())
            self._running[task] = progress
            try:
                outcome = await self._hand_over(progress)
            finally:
                progress.work.done()
            await self._settle(progress, outcome)
            if self._ready and self._room() > 0:
                self.wake()

    async def _hand_over(self, progress: Progress) -> Outcome:
        try:
            return await hand_over(
                self._sending.handover,
                progress,
                self._pool,
                limited=self._limited,
                certified=self._account.is_pec_account,
            )
        except asyncio.CancelledError:
            if not self.stopping:
                raise
            return Withheld("the sender stops")

    async def _settle(self, progress: Progress, outcome: Outcome) -> None:
        self._record(progress, outcome)
        if isinstance(outcome, AccountTrouble):
            await self._back_off(outcome)
        elif isinstance(outcome, Sent) and self._was_in_trouble:
            self._was_in_trouble, self._fails = False, 0
            if await self._tell_database(self._sending.store.queue.account_works(self._account.pk)):
                _log.info("account_works", tenant=self._account.tenant_id, account=self._account.id)

    def _record(self, progress: Progress, outcome: Outcome) -> None:
        message = progress.message
        chance = random.random()  # noqa: S311 - spreads retries
        settlement = settle(Attempt.of(message), outcome, self._rules, time.time(), chance)
        self._sending.settlements.add(settlement)
        self._settled_at = time.monotonic()
        self._rate.count(self._settled_at)
        activity.settled(self._account, self.metrics, message, outcome, settlement, progress.started)

    async def _back_off(self, trouble: AccountTrouble) -> None:
        """Once for all connections that met it; what is claimed goes back untouched (RELIABILITY H9)."""
        self._give_back(self._ready)
        if self._in_trouble:
            return
        self._in_trouble = self._was_in_trouble = True
        condition = AccountCondition.BREAKER_OPEN if trouble.definite else AccountCondition.BACKING_OFF
        self._fails += 1
        chance = random.random()  # noqa: S311 - spreads retries
        rest = trouble.retry_after or backoff(self._fails, chance)
        told = await self._tell_database(
            self._sending.store.queue.back_off(
                self._account.pk,
                condition=condition,
                reason=str(trouble.trouble),
                cause=trouble.cause,
                delay=BREAKER_REST if trouble.definite else rest,
            )
        )
        self._in_trouble = False
        activity.rests(self._account, self.metrics, trouble, None if trouble.definite else rest, told)

    async def _tell_database(self, statement: Awaitable[T]) -> T | None:
        """The account's condition is advice: when it cannot be stored, the next attempt finds out again."""
        try:
            return await statement
        except StorageUnavailable as e:
            _log.warning("condition_not_stored", account=self._account.id, error=e.detail)
            return None

    # -- around

    def _give_back(self, works: deque[Work]) -> None:
        while works:
            work = works.popleft()
            work.done()
            outcome = Withheld("not begun")
            self._sending.settlements.add(
                settle(Attempt.of(work.message), outcome, self._rules, time.time(), 0.5)
            )

    def _rules_of(self, account: Account) -> Rules:
        return Rules(self._sending.retry.for_account(account), account.on_unknown_outcome)

    async def _sleep(self, wait: Seconds) -> None:
        longest = min(wait, LOOK_AGAIN)
        if longest <= 0.0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(longest):
                await self._woken.wait()
        except TimeoutError:
            self._pool.close_idle()
