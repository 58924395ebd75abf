"""One visit to a mailbox: what is new is fetched, taken in and removed, mail by mail; then it waits for more.

A mail that was taken in is known by its fingerprint before anything is done to it in the mailbox, so a process that
is killed anywhere repeats no effect and leaves no mail out.
"""

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TypeVar

from mailproxy import log, metrics
from mailproxy.inbound import Arrival, Disposal, Effects, Leased, Mailbox, Ours, TakenIn, Unreadable, Verdict
from mailproxy.model import CERTIFIED, Epoch, Seconds
from mailproxy.pec.reading import Terms
from mailproxy.store import Store
from workers.imap.effects import effects_of
from workers.imap.protocol import MOST_MAIL
from workers.imap.session import Session, Trouble

AT_ONCE = 50
MOST_FETCHES = 3
PARSING: Seconds = 10.0
PARKED_EVERY: Seconds = 5.0
MOST_PARKED = 20
LONGEST: Seconds = 600.0

_log = log.get(__name__)

T = TypeVar("T")


class LeaseLost(Exception):
    """Somebody else reads the mailbox, or may."""


@dataclass(slots=True, eq=False)
class Visit:
    """`stir` ends it before its time; `terms` say which receipts count. `at` is told each step, so that a test can end
    the process there."""

    store: Store
    epoch: Epoch
    ours: Ours
    leased: Leased
    session: Session
    threads: Executor
    stir: asyncio.Event
    terms: Terms
    at: Callable[[str], None] = lambda step: None
    longest: Seconds = LONGEST
    _is_idle: bool = field(default=False, init=False)
    _goes_on: bool = field(default=False, init=False)
    _uidvalidity: int = field(default=0, init=False)
    _is_waiting: bool = field(default=False, init=False)

    @property
    def _mailbox(self) -> Mailbox:
        return self.leased.mailbox

    async def run(self) -> None:
        """Read the mailbox to its end, and stay while the server tells what arrives; raises Trouble, LeaseLost."""
        self._uidvalidity = await self.session.open_folder()
        last = _held(await self.store.inbound.opened(self.leased, self.epoch, self._uidvalidity))
        ends_at = asyncio.get_running_loop().time() + self.longest
        while True:
            await self._try_again()
            last = await self._read_on(last)
            await self._dispose()
            if not await self.store.inbound.checked(self.leased, self.epoch):
                raise LeaseLost
            if self.stir.is_set() or not self.session.idles:
                return
            left = ends_at - asyncio.get_running_loop().time()
            if left <= 0:
                self._goes_on = True
                return
            await self._idle(left)
            if self.stir.is_set():
                return

    @property
    def is_idle(self) -> bool:
        """Whether all is read and the server will tell of more."""
        return self._is_idle

    @property
    def goes_on(self) -> bool:
        """Whether it has only lasted long, and the next should follow at once."""
        return self._goes_on

    @property
    def is_waiting(self) -> bool:
        """Whether a mail came too early and is to be tried again soon."""
        return self._is_waiting

    async def _idle(self, left: Seconds) -> None:
        longest = min(self._mailbox.interval, left)
        seconds = min(longest, PARKED_EVERY) if self._is_waiting else longest
        self._is_idle = True
        idling = asyncio.create_task(self.session.idle(seconds))
        stirred = asyncio.create_task(self.stir.wait())
        try:
            await asyncio.wait([idling, stirred], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._is_idle = False
            stirred.cancel()
            if not idling.done():
                idling.cancel()
                await asyncio.wait([idling])
        if not idling.cancelled():
            idling.result()

    async def _read_on(self, last: int) -> int:
        uids = await self.session.uids_after(last)
        for first in range(0, len(uids), AT_ONCE):
            part = uids[first : first + AT_ONCE]
            sizes = await self.session.sizes(part)
            for uid in part:
                await self._one(uid, sizes.get(uid, 0))
            last = part[-1]
            await self._dispose()
        return last

    async def _one(self, uid: int, size: int) -> None:
        try:
            if size > MOST_MAIL:
                header = await self.session.header(uid) or b""
                await self._quarantine(uid, header, f"it has {size} octets, at most {MOST_MAIL} are read")
                return
            octets = await self.session.mail(uid)
        except Trouble as trouble:
            await self._not_fetched(uid, trouble)
            return
        if octets is None:
            _held(await self.store.inbound.skip(self.leased, self.epoch, self._uidvalidity, uid) or None)
            return
        effects = await self._effects(octets)
        self.at("take")
        arrival = self._arrival(uid, octets)
        taken = _held(await self.store.inbound.take(self.leased, self.epoch, arrival, effects, self.ours))
        self.at("taken")
        await self._tell(uid, taken, _reason(effects))

    async def _not_fetched(self, uid: int, trouble: Trouble) -> None:
        """A mail that is there is never passed over for a fault of the moment; one that cannot be had is set aside."""
        tries = _held(await self.store.inbound.stuck(self.leased, self.epoch, uid))
        if tries < MOST_FETCHES:
            raise Trouble(trouble.stage, f"mail {uid}: {trouble}")
        await self._quarantine(uid, b"", f"it could not be fetched: {trouble}")
        if trouble.lost:
            raise trouble

    async def _quarantine(self, uid: int, octets: bytes, reason: str) -> None:
        arrival = self._arrival(uid, octets)
        taken = await self.store.inbound.quarantine(self.leased, self.epoch, arrival, reason)
        await self._tell(uid, _held(taken), reason)

    async def _effects(self, octets: bytes) -> Effects:
        """Worked out beside the event loop, and waited for only so long."""
        parsing = asyncio.get_running_loop().run_in_executor(
            self.threads, effects_of, octets, self._mailbox, self.terms
        )
        try:
            async with asyncio.timeout(PARSING):
                return await parsing
        except TimeoutError:
            return Unreadable("it takes too long to read")
        except Exception as error:  # noqa: BLE001 a parser's bug must not stop the mails behind
            _log.error("mail_not_read", mailbox=self._mailbox.name, error=str(error), exc_info=True)
            return Unreadable(f"it cannot be read: {type(error).__name__}")

    async def _try_again(self) -> None:
        """Mails that came before the end of their message's hand-over was written down."""
        self._is_waiting = False
        for _ in range(MOST_PARKED):
            # One by one, as each may have MOST_MAIL octets; what is still early is not due again at once.
            parked = await self.store.inbound.parked(self.leased)
            if parked is None or parked.octets is None:
                self._is_waiting |= parked is not None
                return
            effects = await self._effects(parked.octets)
            taken = await self.store.inbound.retry(self.leased, self.epoch, parked, effects, self.ours)
            await self._tell(0, _held(taken), _reason(effects))

    async def _dispose(self) -> None:
        while uids := await self.store.inbound.undisposed(self.leased, AT_ONCE):
            match self._mailbox.disposal:
                case Disposal.DELETE:
                    await self.session.delete(uids)
                case Disposal.SEEN:
                    await self.session.mark_seen(uids)
                case Disposal.MOVE:
                    await self.session.move(uids, self._mailbox.move_to or "")
                case Disposal.KEEP:
                    pass
            self.at("dispose")
            await self.store.inbound.disposed(self.leased, self._uidvalidity, uids)

    def _arrival(self, uid: int, octets: bytes) -> Arrival:
        return Arrival(self._uidvalidity, uid, hashlib.sha256(octets).digest(), octets)

    async def _tell(self, uid: int, taken: TakenIn, reason: str | None = None) -> None:
        self._is_waiting |= taken.verdict is Verdict.EARLY
        for word in taken.counts:
            (metrics.pec_events if word in CERTIFIED else metrics.bounces)(word).inc()
        tell = _log.error if taken.verdict is Verdict.QUARANTINED else _log.info
        said = {"mailbox": self._mailbox.name, "uid": uid, "verdict": str(taken.verdict)}
        tell("mail_taken_in", **said, counts=list(taken.counts), message=taken.message, reason=reason)
        if taken.verdict is Verdict.APPLIED:
            await self.store.wakeups.announce("reports")


def _reason(effects: Effects) -> str | None:
    return effects.reason if isinstance(effects, Unreadable) else None


def _held(answer: T | None) -> T:
    if answer is None:
        raise LeaseLost
    return answer
