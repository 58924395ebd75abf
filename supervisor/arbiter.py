"""Fork, listen, reap, signal: keeps the processes running that roles and plan ask for.

What it knows of them: role, place, pid, exit code, and what their control channels say.
"""

import os
import secrets
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from mailproxy import log
from mailproxy.config import Settings
from mailproxy.errors import ConfigurationError
from mailproxy.model import Instant, Seconds
from supervisor import child as birth
from supervisor.backoff import History, after_death
from supervisor.child import Child, Vacancy
from supervisor.notify import ServiceManager
from supervisor.plan import Dismiss, Fork, Give, Pace, RoleSet, Rouse, Sender, plan
from workers.control import AccountSlot, Assign, Channel, Idle, Message, Ready, Reaped, Wake, Wanted
from workers.frame import DONE, HURRIED_DRAIN, MISCONFIGURED, TRY_AGAIN, Life

API, SENDER = "api", "sender"
REMEMBERED_OWNERS = 16

_log = log.get(__name__)


@dataclass(slots=True, eq=False)
class Arbiter:
    """`noted` brings the numbers of caught signals, `reload` new settings or ConfigurationError."""

    settings: Settings
    node: str
    roles: RoleSet
    noted: socket.socket
    not_for_children: Sequence[birth.Closable]
    listener: socket.socket | None
    api: birth.Program | None
    reload: Callable[[], Settings]
    pace: Pace
    service_manager: ServiceManager

    children: dict[int, Child] = field(default_factory=dict)
    vacancies: list[Vacancy] = field(default_factory=list)
    wanted: tuple[AccountSlot, ...] = ()
    barred: set[AccountSlot] = field(default_factory=set)
    replan: bool = False
    generation: int = 0
    exit_code: int | None = None
    filled: Instant = 0.0
    rank: int = 0
    rank_until: Instant = 0.0
    looked: Instant = field(default_factory=time.monotonic)
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def run(self) -> int:
        """Until told to stop, or nothing is left that may run; the exit code of the service."""
        self.selector.register(self.noted, selectors.EVENT_READ)
        self.vacancies = [Vacancy(role) for role in self._single_roles()]
        with self.selector:
            while self.exit_code is None or self.children:
                now = time.monotonic()
                if self.exit_code is None:
                    self._replace_one(now)
                    self._fill(now)
                else:
                    self._stop_next(now)
                self._listen(self._pause(now))
                self._reap()
                self._watch(time.monotonic())
                self._tell(time.monotonic())
        return self.exit_code

    def _single_roles(self) -> list[str]:
        names = [role.name for role in self.roles.singles]
        return [API, *names] if self.api else names

    def _fill(self, now: Instant) -> None:
        due = [vacancy for vacancy in self.vacancies if vacancy.not_before <= now]
        for vacancy in due:
            if vacancy.role != SENDER:
                self.vacancies.remove(vacancy)
                self._start(vacancy, now)
        if any(self.filled < vacancy.not_before for vacancy in due):
            self.replan = True
        self.filled = now
        if self.roles.sender is not None and self.replan:
            self.replan = False
            self._staff_senders(now)

    def _staff_senders(self, now: Instant) -> None:
        bereaved, waiting = [], set(self.barred)
        for vacancy in self.vacancies:
            if vacancy.not_before > now:
                waiting.update(vacancy.accounts)
            elif vacancy.role == SENDER:
                bereaved.append(vacancy.accounts)
        senders = {child.number: child for child in self._of(SENDER)}
        seen = [Sender(number, frozenset(one.accounts), one.leaving) for number, one in senders.items()]
        most = self.settings.max_senders
        for action in plan(self.wanted, seen, most, bereaved=bereaved, withheld=frozenset(waiting)):
            match action:
                case Fork(accounts):
                    self._start(self._inherit(accounts), now)
                case Give(number, accounts):
                    self._give(senders[number], accounts)
                case Rouse(number, accounts):
                    self._say(senders[number], Wake(accounts))
                case Dismiss(number):
                    self._let_go(senders[number], now)

    def _inherit(self, accounts: tuple[AccountSlot, ...]) -> Vacancy:
        """The place for a sender of these accounts, in succession of those that served them last."""
        mine = [vacancy for vacancy in self.vacancies if not set(accounts).isdisjoint(vacancy.accounts)]
        self.vacancies = [vacancy for vacancy in self.vacancies if vacancy not in mine]
        succeeds = tuple(owner for vacancy in mine for owner in vacancy.succeeds)
        history = mine[0].history if mine else History()
        return Vacancy(SENDER, accounts, succeeds, history)

    def _give(self, sender: Child, accounts: tuple[AccountSlot, ...]) -> None:
        if succeeds := self._inherit(accounts).succeeds:
            self._say(sender, Reaped(succeeds))
        self._say(sender, Assign(accounts))
        sender.accounts.update(accounts)

    def _start(self, vacancy: Vacancy, now: Instant) -> None:
        role = vacancy.role
        taken = {child.number for child in self._of(role)}
        number = next(number for number in range(len(taken) + 1) if number not in taken)
        owner = f"{self.node}/{role}.{number}#{secrets.token_hex(4)}"
        try:
            pid, channel = self._spawn(vacancy, number, owner)
        except OSError as error:
            history, wait = after_death(vacancy.history, lived=0.0, at_birth=True)
            self.vacancies.append(replace(vacancy, history=history, not_before=now + wait))
            _log.error("cannot_fork", role=role, error=str(error), again_in=wait)
            return
        if channel is not None:
            self.selector.register(channel.sock, selectors.EVENT_READ)
        self.children[pid] = Child(
            pid=pid,
            role=role,
            number=number,
            owner=owner,
            generation=self.generation,
            born=now,
            heard=now,
            channel=channel,
            succeeds=vacancy.succeeds,
            accounts=set(vacancy.accounts),
            history=vacancy.history,
        )
        _log.info("started", role=role, owner=owner, pid=pid, accounts=len(vacancy.accounts))

    def _spawn(self, vacancy: Vacancy, number: int, owner: str) -> tuple[int, Channel | None]:
        channels = [child.channel.sock for child in self.children.values() if child.channel]
        if vacancy.role == API:
            assert self.api is not None
            assert self.listener is not None
            others = [end for end in self.not_for_children if end is not self.listener]
            return birth.serve(self.api, self.listener, [self.selector, self.noted, *others, *channels]), None
        entries = {role.name: role.entry for role in self.roles.singles}
        entry = self.roles.sender if vacancy.role == SENDER else entries[vacancy.role]
        assert entry is not None
        life = Life(self.settings, vacancy.role, number, owner, vacancy.succeeds, vacancy.accounts)
        return birth.fork(life, entry, [self.selector, self.noted, *self.not_for_children, *channels])

    def _pause(self, now: Instant) -> Seconds:
        moments = [vacancy.not_before for vacancy in self.vacancies]
        moments += [child.kill_at for child in self.children.values() if child.kill_at is not None]
        longest = min(1.0, self.service_manager.beat or 1.0)
        return min([longest, *(moment - now for moment in moments if moment > now)])

    def _listen(self, pause: Seconds) -> None:
        ready = {key.fd for key, _ in self.selector.select(pause)}
        if self.noted.fileno() in ready:
            for number in self.noted.recv(4096):
                self._heed(signal.Signals(number))
        for child in list(self.children.values()):
            if child.channel is not None and child.channel.sock.fileno() in ready:
                child.channel.flush()
                self._hear(child, child.channel)

    def _heed(self, number: signal.Signals) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop(DONE, number.name)
        elif number == signal.SIGHUP and self.exit_code is None:
            self._reload()

    def _hear(self, child: Child, channel: Channel) -> None:
        messages, is_open = channel.receive()
        if channel.garbled:
            _log.error("garbled", role=child.role, owner=child.owner, lines=channel.garbled)
            channel.garbled = 0
        for message in messages:
            child.heard = time.monotonic()
            self._obey(child, message)
        if not is_open and channel.sock in self.selector.get_map():
            self.selector.unregister(channel.sock)
        elif is_open:
            self._attend(channel)

    def _obey(self, child: Child, message: Message) -> None:
        match message:
            case Ready():
                child.is_up = True
                _log.info("ready", role=child.role, owner=child.owner, pid=child.pid)
            case Wanted(accounts):
                self.wanted, self.replan = accounts, True
            case Idle(accounts):
                child.accounts.difference_update(accounts)
                self.replan = True
            case _:
                pass

    def _say(self, child: Child, message: Message) -> None:
        if child.channel is not None:
            child.channel.send(message)
            self._attend(child.channel)

    def _attend(self, channel: Channel) -> None:
        if channel.sock in self.selector.get_map():
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.pending else 0)
            self.selector.modify(channel.sock, events)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self.children:  # as process 1 we are also given the children of others
                self._bury(pid, os.waitstatus_to_exitcode(status), time.monotonic())

    def _bury(self, pid: int, code: int, now: Instant) -> None:
        child = self.children[pid]
        if child.channel is not None:
            self._hear(child, child.channel)
            if child.channel.sock in self.selector.get_map():
                self.selector.unregister(child.channel.sock)
            child.channel.sock.close()
        del self.children[pid]
        lived, up = now - child.born, self._is_up(child, now)
        history, wait = child.history, 0.0
        if not child.leaving:
            history, wait = after_death(history, lived=lived, at_birth=code == TRY_AGAIN or not up)
        left = self._vacancy_after(child, code, up)
        say = _log.info if code == DONE else _log.warning
        facts = {"role": child.role, "owner": child.owner, "pid": pid, "code": code, "lived": round(lived, 3)}
        say("ended", **facts, up=up, again_in=round(wait, 3) if left else None)
        self.replan = True
        if left is not None:
            self.vacancies.append(replace(left, history=history, not_before=now + wait))
        if code == MISCONFIGURED and self.exit_code is None:
            self._bar(child)

    def _vacancy_after(self, child: Child, code: int, up: bool) -> Vacancy | None:
        """The place that has to be filled again, if any: not after leave-taking, nor where a successor is."""
        if self.exit_code is not None or code == MISCONFIGURED:
            return None
        if child.role == SENDER:
            retired = code == DONE and up and not child.leaving
            if retired or not child.accounts:
                return None
        elif self._is_succeeded(child):
            return None
        unsettled = (*(() if up else child.succeeds), child.owner)[-REMEMBERED_OWNERS:]
        return Vacancy(child.role, tuple(child.accounts), () if code == DONE else unsettled)

    def _is_succeeded(self, child: Child) -> bool:
        coming = any(vacancy.role == child.role for vacancy in self.vacancies)
        others = (other for other in self._of(child.role) if not other.leaving)
        return coming or any(other.generation >= child.generation for other in others)

    def _bar(self, child: Child) -> None:
        """Nobody takes this place before the next reload; others keep theirs, with older settings if need be.

        Without an API, or with nobody left, the service ends.
        """
        _log.error("misconfigured", role=child.role, owner=child.owner)
        self.barred |= child.accounts
        others = self._of(child.role)
        for other in others:
            other.generation = self.generation
        if (child.role == API and not others) or not (self.children or self.vacancies):
            self._stop(MISCONFIGURED, f"{child.role} is misconfigured")

    def _let_go(self, child: Child, now: Instant) -> None:
        child.leave(birth.deadline(now, self.settings.drain_seconds))

    def _of(self, role: str) -> list[Child]:
        return [child for child in self.children.values() if child.role == role]

    def _is_up(self, child: Child, now: Instant) -> bool:
        return child.is_up or (child.channel is None and now - child.born >= self.pace.settling)

    def _watch(self, now: Instant) -> None:
        """Kill what has outstayed its leave or lives without a turning event loop."""
        stood_still, self.looked = now - self.looked - 2.0, now
        for child in self.children.values():
            if stood_still > 0:  # we were stopped ourselves, and our children perhaps with us
                child.heard += stood_still
            if child.kill_at is not None:
                if now >= child.kill_at:
                    _log.warning("killed", role=child.role, owner=child.owner)
                    child.send(signal.SIGKILL)
                    child.kill_at = now + 5.0
            elif child.channel is not None and now - child.heard > self.pace.silence:
                _log.error("silent", role=child.role, owner=child.owner, seconds=round(now - child.heard, 1))
                child.send(signal.SIGABRT)
                child.kill_at = now + 2.0

    def _tell(self, now: Instant) -> None:
        up = sum(self._is_up(child, now) for child in self.children.values())
        status = f"{up} of {len(self.children)} processes up, {len(self._of(SENDER))} of them senders"
        self.service_manager.tell(
            now, is_settled=self._is_settled(now), is_stopping=self.exit_code is not None, status=status
        )

    def _is_settled(self, now: Instant) -> bool:
        """Whether every place is filled by a process that is up and has the newest settings."""
        for child in self.children.values():
            if child.leaving:
                if child.role != SENDER and not self._is_succeeded(child):
                    return False
            elif child.generation < self.generation or (child.role != SENDER and not self._is_up(child, now)):
                return False
        return all(vacancy.role == SENDER for vacancy in self.vacancies)

    def _reload(self) -> None:
        self.service_manager.reloading(time.monotonic())
        try:
            self.settings = self.reload()
        except ConfigurationError as error:
            _log.error("reload_refused", error=str(error))
            return
        self.generation += 1
        self.barred.clear()
        self.vacancies = [replace(vacancy, not_before=0.0) for vacancy in self.vacancies]
        filled = {child.role for child in self.children.values()}
        filled |= {vacancy.role for vacancy in self.vacancies}
        self.vacancies += [Vacancy(role) for role in self._single_roles() if role not in filled]
        self.replan = True
        _log.info("reloaded", generation=self.generation)

    def _replace_one(self, now: Instant) -> None:
        """After a reload: let one child with old settings go, when what came for the last one is up."""
        old: list[Child] = []
        new: list[Child] = []
        for child in self.children.values():
            (old if child.generation < self.generation else new).append(child)
        up = {child.role for child in new if self._is_up(child, now)}
        is_coming = any(
            not self._is_up(child, now) and now - child.born < self.pace.patience for child in new
        )
        if not old or is_coming or any(child.leaving for child in old):
            return
        overlapping = {API, *(role.name for role in self.roles.singles if role.overlaps)}
        awaited = {vacancy.role for vacancy in self.vacancies} | {child.role for child in new}
        for child in old:
            if child.role not in overlapping or child.role in up:
                self._let_go(child, now)
                return
            if child.role not in awaited:
                self.vacancies.append(Vacancy(child.role))
                return

    def _stop(self, code: int, because: str) -> None:
        now = time.monotonic()
        if self.exit_code is None:
            _log.info("stopping", because=because, children=len(self.children))
            self.exit_code, self.rank_until = code, now + self.pace.patience
            if self.listener is not None:
                self.listener.close()  # or whoever connects while others drain waits for an answer in vain
            return
        for child in self.children.values():
            child.hurry(birth.deadline(now, HURRIED_DRAIN))

    def _stop_next(self, now: Instant) -> None:
        """The API first, so that nothing new is accepted; senders last."""
        while self.rank < 3:
            group = [child for child in self.children.values() if _rank(child.role) == self.rank]
            for child in group:
                if not child.leaving:
                    self._let_go(child, now)
            if group and now < self.rank_until:
                return
            self.rank += 1
            self.rank_until = now + self.pace.patience


def _rank(role: str) -> int:
    return {API: 0, SENDER: 2}.get(role, 1)
