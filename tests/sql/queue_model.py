"""The queue as it is promised, pure: the state table, the fences and the limits of RELIABILITY §1 and §2.1.

Time is counted in ticks, each as long as a slot of a rate limit, and stands still between calls of `pass_time`.
Whatever names a claim (`Token`) may come late, twice, or from a process that lost its lease.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.sql.queue_nouns import (
    ALL,
    AUTHORISED,
    CANCELLED,
    CLAIMED,
    ERROR,
    EXPIRED,
    NAMES,
    QUEUED,
    READY,
    SENT,
    UNKNOWN,
    Account,
    Letter,
    Process,
    Row,
    Taken,
    Token,
    Verdict,
    Windows,
)


@dataclass
class Queue:
    """One tenant's, with everything that may happen to it."""

    accounts: dict[str, Account]
    limits: Windows
    now: float = 0.0
    calls: int = 0
    letters: dict[str, Letter] = field(default_factory=dict)
    processes: dict[int, Process] = field(default_factory=dict)
    leases: dict[tuple[str, int], tuple[int, float]] = field(default_factory=dict)
    batches: set[str] = field(default_factory=set)
    stopped: bool = False
    events: list[tuple[str, str]] = field(default_factory=list)
    outbox: list[tuple[str, str]] = field(default_factory=list)

    # -- acceptance

    def enqueue(self, name: str, new: Letter, due: float, expires: float) -> str | None:
        """None when it was accepted, else why not. A rejected letter comes as one that ended in error."""
        old = self.letters.get(name)
        if old is None:
            self.letters[name] = new
            if new.status == ERROR:
                self._tell(name, "error")
        elif new.status == ERROR:
            return "exists"
        elif old.status in (SENT, UNKNOWN):
            return {SENT: "already_sent", UNKNOWN: "outcome_unknown"}[old.status]
        elif old.row and old.row.phase:
            return "being_sent"
        else:
            new.id, new.revision, new.created = old.id, old.revision + 1, old.created
            self.letters[name] = new
        if new.status == QUEUED:
            claims = old.row.claim if old and old.row else 0
            new.row = Row((due, self.calls), expires, self._is_held(new), claim=claims)
        return None

    # -- processes and leases

    def take_lease(
        self, account: str, slot: int, epoch: int, ttl: float, succeeds: Sequence[str]
    ) -> bool | None:
        """Whether its former holder left it behind; None when somebody holds it."""
        former = self.leases.get((account, slot))
        if former and former[1] > self.now and former[0] != epoch:
            holder = self.processes.get(former[0])
            if holder is None or holder.owner not in succeeds:
                return None
        self.leases[account, slot] = (epoch, self.now + ttl)
        return former is not None

    def renew(self, epoch: int, ttl: float) -> set[tuple[str, int]]:
        mine = {key for key, (holder, ends) in self.leases.items() if holder == epoch and ends > self.now}
        self.leases |= dict.fromkeys(mine, (epoch, self.now + ttl))
        return mine

    def release_leases(self, epoch: int) -> None:
        """A lease only ends where something claimed is left: somebody then comes to look."""
        for (account, slot), (holder, _) in list(self.leases.items()):
            if holder == epoch and any(row.phase for row in self._rows(account)):
                self.leases[account, slot] = (epoch, self.now - 0.001)
            elif holder == epoch:
                del self.leases[account, slot]

    def holds(self, account: str, epoch: int | None, slot: int | None = None) -> bool:
        return any(
            holder == epoch and ends > self.now and name == account and slot in (None, number)
            for (name, number), (holder, ends) in self.leases.items()
        )

    def forget_dead(self, silent: float) -> int:
        held = {holder for holder, _ in self.leases.values()} | {row.epoch for row in self._rows()}
        gone = [
            epoch
            for epoch, process in self.processes.items()
            if (process.seen if process.left is None else process.left) < self.now - silent
            and epoch not in held
        ]
        for epoch in gone:
            del self.processes[epoch]
        return len(gone)

    def due(self, node: str, slots: int) -> set[tuple[str, int]]:
        """Which (account, slot) somebody of the node should serve now."""
        found = set()
        for name, account in self.accounts.items():
            ready = [row.due[0] for row in self._rows(name) if not row.held]
            works = account.condition != "breaker_open" and not self._is_stopped()
            asked = works and ready and max(min(ready), account.not_before) <= self.now
            asked = asked or any(ends < self.now for (of, _), (_, ends) in self.leases.items() if of == name)
            for slot in range(slots if asked else 0):
                holder, ends = self.leases.get((name, slot), (0, 0.0))
                process = self.processes.get(holder)
                if ends <= self.now or (process and process.node == node):
                    found.add((name, slot))
        return found

    # -- the six steps

    def claim(self, name: str, slot: int, epoch: int, limit: int) -> Taken:
        account = self.accounts[name]
        if not self.holds(name, epoch, slot):
            return Taken(lost=True)
        if self._is_stopped() or account.condition == "breaker_open" or account.not_before > self.now:
            return Taken()
        limited = bool(self.limits.over(name))
        free = min([limit, *self.limits.free(name, self.now)])
        above = limited and free <= 0
        if above and account.behaviour == "defer":
            self._rest(name)
            return Taken(limited=True)
        found = [
            (letter.priority, row.due, letter.id, key)
            for key, letter, row in self._waiting(name)
            if row.due[0] <= self.now and row.epoch is None and not row.held
        ]
        taken = tuple(key for *_, key in sorted(found)[: limit if above else free])
        for key in taken:
            row = self._row(key)
            row.epoch, row.phase, row.attempts, row.claim = epoch, CLAIMED, row.attempts + 1, row.claim + 1
            row.charged = self.now if limited and not above else None
            if row.charged is not None:
                self.limits.charge(name, self.now, 1)
        return Taken(taken, limited=limited, above=above and bool(taken))

    def may_intend(self, epoch: int, names: Iterable[str], limited: bool) -> tuple[set[str], set[str]]:
        """Who is sure to be granted a dot, and who only as far as the limits have room."""
        sure, lapsed = set(), set()
        for name in names:
            letter = self.letters.get(name)
            row = letter.row if letter else None
            if letter is None or row is None or (row.epoch, row.phase) != (epoch, CLAIMED):
                continue
            if row.held or not self.holds(letter.account, epoch) or self._is_suspended(letter):
                continue
            if limited and not self.limits.counts(letter.account, row.charged, self.now):
                lapsed.add(name)
            else:
                sure.add(name)
        return sure, lapsed

    def intend(self, granted: Iterable[str], lapsed: set[str], limited: bool) -> None:
        for name in granted:
            row = self._row(name)
            row.phase = AUTHORISED
            if limited:
                account = self.letters[name].account
                self.limits.charge(account, self.now, 1)
                if name not in lapsed and row.charged is not None:
                    self.limits.charge(account, row.charged, -1)
                row.charged = self.now

    def settle(self, epoch: int, verdicts: Sequence[tuple[Token, Verdict]]) -> tuple[set[int], set[int]]:
        """The ids settled, and those for which a 2xx came late but in time to count."""
        self.calls += 1
        settled, late = set(), set()
        for token, verdict in sorted(verdicts, key=lambda one: one[1].status is None):
            letter = self.letters.get(token.name)
            row = letter.row if letter else None
            if letter is None or letter.id != token.id:
                continue
            mine = row and (row.epoch, row.claim, letter.revision) == (epoch, token.claim, token.revision)
            if mine:
                self._settle(token.name, verdict)
                settled.add(token.id)
            elif verdict.status == SENT and letter.revision == token.revision and letter.is_open:
                self._finish(token.name, SENT, "sent", letter.attempts)
                late.add(token.id)
        return settled, late

    def _settle(self, name: str, verdict: Verdict) -> None:
        letter, row = self.letters[name], self._row(name)
        if verdict.certain and row.charged is not None:
            self.limits.charge(letter.account, row.charged, -1)
        letter.recipients |= dict(verdict.recipients)
        if verdict.status is not None:
            self._finish(name, verdict.status, NAMES[verdict.status], max(row.attempts - verdict.refund, 0))
            return
        if verdict.event:
            self._tell(name, verdict.event)
        if verdict.delay is not None:
            row.due = (self.now + verdict.delay, self.calls)
        row.suspect = 0 if row.phase == AUTHORISED else min(row.suspect, 1)
        row.held = self._is_held(letter)
        row.free(refund=verdict.refund)

    # -- after a death

    def unclaim(self, account: str, epoch: int, known: set[int]) -> int:
        lost = [row for _, letter, row in self._waiting(account) if letter.id not in known]
        lost = [row for row in lost if (row.epoch, row.phase) == (epoch, CLAIMED)]
        for row in lost:
            row.free(refund=True)
        return len(lost)

    def suspect_alone(self, epoch: int, name: str, alone: bool) -> None:
        letter = self.letters.get(name)
        if letter and letter.row and (letter.row.epoch, letter.row.phase) == (epoch, CLAIMED):
            letter.row.suspect = 2 if alone else 0

    def recover(
        self, account: str, epoch: int, node: str, grace: float, poison_after: int
    ) -> tuple[set[str], set[str], set[str]]:
        """Who was freed, who was failed as poison, and whose hand-over is in doubt and now ours."""
        freed, poisoned, doubtful = set(), set(), set()
        for name, _, row in self._waiting(account):
            if row.epoch in (None, epoch) or self.holds(account, row.epoch):
                continue
            if row.phase == CLAIMED:
                row.crashes, row.suspect = row.crashes + (row.suspect == 2), 1
                row.free(refund=True)
                if row.crashes >= poison_after:
                    poisoned.add(name)
                    self._finish(name, ERROR, "error", row.attempts)
                else:
                    freed.add(name)
            elif self._is_ours(row.epoch, node, grace):
                row.epoch = epoch
                doubtful.add(name)
        self._forget_leases(account)
        return freed, poisoned, doubtful

    def _is_ours(self, epoch: int | None, node: str, grace: float) -> bool:
        process = self.processes.get(epoch or 0)
        return process is None or process.node == node or process.seen < self.now - grace

    def _forget_leases(self, account: str) -> None:
        for (name, slot), (holder, ends) in list(self.leases.items()):
            if name == account and ends < self.now:
                left = any(row.epoch == holder for row in self._rows(account))
                if not left or self.holds(account, holder):
                    del self.leases[name, slot]

    # -- from outside

    def suspend(self, batch: str | None) -> None:
        self.batches.add(batch or ALL)
        for _, letter, row in self._waiting():
            if batch and letter.batch == batch and row.phase == READY:
                row.held = True

    def activate(self, batch: str | None) -> bool:
        """False: a single batch cannot be activated out of a full suspension."""
        if batch and ALL in self.batches:
            return False
        self.batches -= {batch} if batch else self.batches.copy()
        for _, letter, row in self._waiting():
            if batch in (None, letter.batch):
                row.held = False
        return True

    def cancel(self, name: str) -> bool:
        letter = self.letters.get(name)
        if letter is None or letter.row is None or letter.row.phase == AUTHORISED:
            return False
        self._finish(name, CANCELLED, "cancelled", letter.row.attempts)
        return True

    def resolve(self, name: str, status: int, max_age: float) -> bool:
        """Ready again it is a new revision: what comes late of the attempt in doubt no longer counts."""
        self.calls += 1
        letter = self.letters.get(name)
        if letter is None or letter.status != UNKNOWN:
            return False
        letter.status = status
        letter.done = self.now if status else None
        if status == QUEUED:
            letter.revision += 1
            letter.row = Row((self.now, self.calls), self.now + max_age, self._is_held(letter))
        self._tell(name, "retry_after_unknown" if status == QUEUED else NAMES[status])
        return True

    def delete(self, name: str) -> bool | None:
        """False while its outcome is awaited; None when there is none of that name."""
        letter = self.letters.get(name)
        if letter is None:
            return None
        if letter.row and letter.row.phase == AUTHORISED:
            return False
        self._remove(name)
        self.outbox = [told for told in self.outbox if told[0] != name]
        return True

    def cleanup(self, older_than: float) -> int:
        unreported = {name for name, _ in self.outbox}
        old = [
            name
            for name, letter in self.letters.items()
            if letter.done is not None
            and letter.status != UNKNOWN
            and max(letter.done, letter.reported or letter.done) < self.now - older_than
            and name not in unreported
        ]
        for name in old:
            self._remove(name)
        return len(old)

    def acknowledge(self, told: list[tuple[str, str]]) -> None:
        for name, event in told:
            self.outbox.remove((name, event))
            self.letters[name].reported = self.now

    def expire(self) -> int:
        old = [name for name, _, row in self._waiting() if row.phase == READY and row.expires <= self.now]
        for name in old:
            self._finish(name, EXPIRED, "expired", self._row(name).attempts)
        return len(old)

    def state(self, name: str) -> str:
        """What a client is shown."""
        letter = self.letters[name]
        if letter.row is None:
            return NAMES[letter.status]
        if letter.row.phase:
            return "sending"
        if letter.row.held or self._is_suspended(letter):
            return "suspended"
        rests = max(letter.row.due[0], self.accounts[letter.account].not_before) > self.now
        return "deferred" if rests else "pending"

    # -- the rest

    def _rest(self, name: str) -> None:
        """Until a token comes free; nothing is written per message."""
        frees = self.limits.frees(name, self.now)
        due = [row.due[0] for _, _, row in self._waiting(name) if row.epoch is None and not row.held]
        if due and min(due) <= frees:
            self.accounts[name].not_before = frees

    def _finish(self, name: str, status: int, event: str, attempts: int) -> None:
        letter = self.letters[name]
        letter.status, letter.attempts, letter.done, letter.row = status, attempts, self.now, None
        self._tell(name, event)

    def _tell(self, name: str, event: str) -> None:
        self.events.append((name, event))
        self.outbox.append((name, event))

    def _remove(self, name: str) -> None:
        del self.letters[name]
        self.events = [told for told in self.events if told[0] != name]

    def _is_stopped(self) -> bool:
        return self.stopped or ALL in self.batches

    def _is_held(self, letter: Letter) -> bool:
        return letter.batch is not None and letter.batch in self.batches

    def _is_suspended(self, letter: Letter) -> bool:
        return self._is_stopped() or self._is_held(letter)

    def _row(self, name: str) -> Row:
        row = self.letters[name].row
        assert row is not None
        return row

    def _waiting(self, account: str | None = None) -> list[tuple[str, Letter, Row]]:
        return [
            (name, letter, letter.row)
            for name, letter in self.letters.items()
            if letter.row is not None and account in (None, letter.account)
        ]

    def _rows(self, account: str | None = None) -> list[Row]:
        return [row for _, _, row in self._waiting(account)]
