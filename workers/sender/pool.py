"""The open SMTP connections of one account, kept while they are good and the account is what it was."""

import asyncio
import hashlib
from dataclasses import dataclass

from mailproxy import metrics
from mailproxy.model import Account, AccountPk, Seconds, TlsMode
from mailproxy.outcome import AccountTrouble
from mailproxy.reach import Reach
from workers.sender.connect import Timeouts
from workers.sender.session import Session, open_session

IDLE_LIMIT: Seconds = 30.0


@dataclass(frozen=True, slots=True)
class PoolKey:
    """All that makes a connection this account's: any change ends the connections made before it (C8)."""

    account: AccountPk
    version: int
    host: str
    port: int
    user: str | None
    password_digest: bytes
    tls: tuple[TlsMode, bool, str | None]


def pool_key(account: Account) -> PoolKey:
    return PoolKey(
        account.pk,
        account.version,
        account.host,
        account.port,
        account.user,
        hashlib.sha256((account.password or "").encode()).digest(),
        (account.tls_mode, account.tls_verify, account.tls_ca),
    )


class Pool:
    """At most `limit` connections; `acquire` waits for one to come free.

    A session belongs to its borrower until `release` (kept if still good) or `discard` (closed at once).
    """

    def __init__(
        self,
        account: Account,
        *,
        limit: int,
        timeouts: Timeouts,
        local_hostname: str | None = None,
        reach: Reach | None = None,
        idle_limit: Seconds = IDLE_LIMIT,
    ) -> None:
        self.account = account
        self.key = pool_key(account)
        self.opened = 0
        self._timeouts = timeouts
        self._local_hostname = local_hostname
        self._reach = reach or Reach()
        self._idle_limit = idle_limit
        self._now = asyncio.get_running_loop().time
        self._free = asyncio.Semaphore(limit)
        self._lent: dict[Session, PoolKey] = {}
        self._idle: list[tuple[Session, Seconds]] = []
        self._secured = False
        self._pipelining = True
        self._closed = False
        self._lost = 0
        self._counts = metrics.account(account.tenant_id, account.id)
        self._partings: set[asyncio.Task[None]] = set()

    @property
    def open_count(self) -> int:
        return len(self._lent) + len(self._idle)

    def update(self, account: Account) -> None:
        """Take on a changed account: idle connections of the old one close now, lent ones on their return."""
        self.account = account
        if pool_key(account) != self.key:
            self.key = pool_key(account)
            self._secured, self._pipelining, self._lost = False, True, 0
            self._part_with_idle()

    async def acquire(self) -> Session | AccountTrouble:
        """A connection ready for MAIL, reused or new; once seen encrypted, never again in clear."""
        await self._free.acquire()
        try:
            session = self._reuse() or await self._open()
        except BaseException:
            self._free.release()
            raise
        if isinstance(session, AccountTrouble):
            self._free.release()
        return session

    def release(self, session: Session) -> None:
        """Give a session back; it is kept unless it broke, grew old, or the account changed meanwhile."""
        key = self._give_back(session)
        if key == self.key and not self._closed and self._good(session):
            self._idle.append((session, self._now()))
        else:
            self._part(session)

    def discard(self, session: Session) -> None:
        """Give a session back to be closed at once, without a word."""
        self._give_back(session)
        session.abandon()
        self._counts.connections.dec()

    def close_idle(self) -> None:
        """Close what nobody used for the idle limit, grew old, or was closed by the server."""
        idle, self._idle = self._idle, []
        for session, since in idle:
            if self._good(session) and self._now() - since < self._idle_limit:
                self._idle.append((session, since))
            else:
                self._part(session)

    async def close(self) -> None:
        """Close the idle connections and wait until they are; lent ones are closed as they come back."""
        self._closed = True
        self._part_with_idle()
        await asyncio.gather(*self._partings)

    def _reuse(self) -> Session | None:
        self.close_idle()
        if not self._idle:
            return None
        session, _ = self._idle.pop()
        self._lent[session] = self.key
        return session

    async def _open(self) -> Session | AccountTrouble:
        key = self.key
        session = await open_session(
            self.account,
            timeouts=self._timeouts,
            local_hostname=self._local_hostname,
            reach=self._reach,
            pipelining=self._pipelining,
            require_tls=self._secured,
        )
        if isinstance(session, Session):
            self._count_opened()
            self._secured = self._secured or session.tls is not None
            self._lent[session] = key
        return session

    def _count_opened(self) -> None:
        self.opened += 1
        self._counts.connections.inc()
        if self._lost:
            self._lost -= 1
            self._counts.reconnects.inc()

    def _give_back(self, session: Session) -> PoolKey:
        key = self._lent.pop(session)
        self._free.release()
        if session.out_of_step:
            self._pipelining = False
        return key

    def _good(self, session: Session) -> bool:
        return session.usable and self._now() - session.opened_at < self.account.ttl

    def _part_with_idle(self) -> None:
        idle, self._idle = self._idle, []
        for session, _ in idle:
            self._part(session)

    def _part(self, session: Session) -> None:
        """In the background: nobody waits for an old server's good-bye."""
        self._counts.connections.dec()
        if not session.usable:
            self._lost += 1
        parting = asyncio.get_running_loop().create_task(session.quit())
        self._partings.add(parting)
        parting.add_done_callback(self._partings.discard)
