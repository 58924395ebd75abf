"""The six steps from a claimed row to a settled one (RELIABILITY §1.3).

1 claim (loop.py) - 2 prepare - 3 offer - 4 intent - 5 dot and journal - 6 finish. The final dot is the only
irreversible act; until the intent everything is retryable, and nobody sends a dot whose outcome could be lost.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from mailproxy.limits import SLACK
from mailproxy.model import Seconds
from mailproxy.outcome import AccountTrouble, Deferred, Outcome, Sent, Unknown, Withheld
from mailproxy.records import Claimed
from workers.sender.groups import Intents
from workers.sender.journal import Journal, Record
from workers.sender.pool import Pool
from workers.sender.prepare import Preparation, Prepared, Work
from workers.sender.session import ConnectionLost, Offered, Session

FRESH_TRIES = 3
LARGEST_JOURNAL = 4_000_000

Breakpoint = Callable[[str], None]
"""Called at each step with its name; a test's may end the process there."""


def passes(step: str) -> None:
    """The breakpoint of production."""


@dataclass(slots=True)
class Gate:
    """Whether this process may send dots at all: its leases are renewed and its journal can be written.

    Once `closed`, it stays so, and the process ends. `fence` is on the monotonic clock (RELIABILITY §2.3).
    """

    fence: Seconds = 0.0
    reason: str | None = None
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def close(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.closed.set()

    def shut(self) -> str | None:
        """Why no dot may be sent now."""
        if self.reason is None and time.monotonic() >= self.fence:
            return "the lease ran out"
        return self.reason


@dataclass(frozen=True, slots=True)
class HandOver:
    """What a process's hand-overs share. `flushed` returns once every outcome so far is in the database."""

    preparation: Preparation
    intents: Intents
    journal: Journal
    gate: Gate
    flushed: Callable[[], Awaitable[None]]
    at: Breakpoint = passes


@dataclass(slots=True)
class Progress:
    """How far one hand-over has come. `committed`: its intent was asked for, so it must be brought to an end."""

    work: Work
    committed: bool = False
    started: Seconds = field(default_factory=time.monotonic)

    @property
    def message(self) -> Claimed:
        return self.work.message


async def hand_over(
    shared: HandOver, progress: Progress, pool: Pool, *, limited: bool, certified: bool = False
) -> Outcome:
    """One attempt. Cancelled before its intent it leaves nothing behind but a closed connection."""
    prepared = await shared.preparation.of(progress.work, certified=certified)
    shared.at("prepared")
    if not isinstance(prepared, Prepared):
        return prepared
    offer = await _offer(prepared, pool)
    if not isinstance(offer, Session):
        return offer
    shared.at("offered")
    try:
        return await _commit(shared, progress, offer, prepared, limited=limited)
    finally:
        pool.release(offer)


async def _offer(prepared: Prepared, pool: Pool) -> Session | Outcome:
    """Everything but the dot, on a connection that is ours until released. A reused one may be stale, for free."""
    lost: ConnectionLost | None = None
    for _ in range(FRESH_TRIES + pool.open_count):
        session = await pool.acquire()
        if isinstance(session, AccountTrouble):
            return session
        try:
            outcome = await session.offer(
                prepared.mail_from, prepared.recipients, prepared.data, smtputf8=prepared.smtputf8
            )
        except BaseException:
            pool.discard(session)
            raise
        if isinstance(outcome, Offered):
            return session
        pool.release(session)
        if not isinstance(outcome, ConnectionLost):
            return outcome
        lost = outcome
    assert lost is not None
    return Deferred(lost.stage, lost.cause)


async def _commit(
    shared: HandOver, progress: Progress, session: Session, prepared: Prepared, *, limited: bool
) -> Outcome:
    message = progress.message
    if shared.journal.size > LARGEST_JOURNAL:
        await shared.flushed()
    progress.committed = True
    asked = time.monotonic()
    granted = shared.gate.shut() is None and await shared.intents.ask(message.id, limited=limited)
    shared.at("intended")
    reason = shared.gate.shut()
    if reason is None and not granted:
        reason = "the intent was refused"
    if reason is None and limited and time.monotonic() - asked > SLACK:
        reason = "the rate slot has passed"
    if reason is None and not _record(shared, message, Unknown("the dot may have been sent")):
        reason = shared.gate.reason
    if reason is not None:
        session.abandon()
        outcome: Outcome = Withheld(reason)
    else:
        outcome = _named(await _dot(session), prepared)
    shared.at("replied")
    _record(shared, message, outcome)
    shared.at("journaled")
    return outcome


async def _dot(session: Session) -> Outcome:
    """Cut off while waiting for the reply, the outcome is unknown, and said to be."""
    try:
        return await session.dot()
    except asyncio.CancelledError:
        session.abandon()
        return Unknown("stopped while waiting for the reply to the dot")


def _named(outcome: Outcome, prepared: Prepared) -> Outcome:
    if not isinstance(outcome, Sent) or not outcome.refused:
        return outcome
    without = {refusal.index for refusal in outcome.refused}
    return replace(outcome, accepted=tuple(r for r in prepared.recipients if r[0] not in without))


def _record(shared: HandOver, message: Claimed, outcome: Outcome) -> bool:
    """A journal that cannot be written closes the gate: the next outcome might be lost (RELIABILITY F27).

    A line before the dot, so that an earlier line of the same message never speaks for this attempt.
    """
    try:
        record = Record(message.id, message.revision, message.attempt, message.claim, outcome)
        shared.journal.record(record)
    except OSError as e:
        shared.gate.close(f"the journal cannot be written: {e}")
        return False
    return True
