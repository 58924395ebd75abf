"""One process of ours: how it is born, what it hears and says, how it is told to go."""

import contextlib
import ctypes
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mailproxy.model import Instant, Seconds
from supervisor.backoff import History
from workers.control import AccountSlot, Channel
from workers.frame import FAILED, TRY_AGAIN, Entry, Life, run

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


Program = Callable[[int], int]
"""Serves on the listening socket of this number until a signal ends it; returns the exit code."""


class Closable(Protocol):
    def close(self) -> None: ...


def deadline(now: Instant, drain: Seconds) -> Instant:
    """When a child that was told to leave is killed: past its own deadline, and a moment to end in order."""
    return now + drain + 2.0


@dataclass(frozen=True, slots=True)
class Vacancy:
    """A place to fill from `not_before` on."""

    role: str
    accounts: tuple[AccountSlot, ...] = ()
    succeeds: tuple[str, ...] = ()
    history: History = field(default_factory=History)
    not_before: Instant = 0.0


@dataclass(slots=True, eq=False)
class Child:
    """A live process. `channel` is None for the API, a program that knows nothing of us and is up when it lasts."""

    pid: int
    role: str
    number: int
    owner: str
    generation: int
    born: Instant
    succeeds: tuple[str, ...] = ()
    accounts: set[AccountSlot] = field(default_factory=set)
    history: History = field(default_factory=History)
    channel: Channel | None = None
    heard: Instant = 0.0
    is_up: bool = False
    leaving: bool = False
    kill_at: Instant | None = None

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def leave(self, kill_at: Instant) -> None:
        """Ask it to drain; what still runs at `kill_at` is killed."""
        self.leaving = True
        self.kill_at = kill_at
        self.send(signal.SIGTERM)

    def hurry(self, kill_at: Instant) -> None:
        self.leaving = True
        self.kill_at = min(kill_at, self.kill_at or kill_at)
        self.send(signal.SIGQUIT if self.channel is None else signal.SIGTERM)


def fork(life: Life, entry: Entry, not_for_the_child: Sequence[Closable]) -> tuple[int, Channel]:
    """A forked worker's pid and control channel."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.setblocking(False)
        try:
            pid = _fork()
        except OSError:
            ours.close()
            raise
        if pid == 0:
            _live((ours, *not_for_the_child), life, entry, theirs)
    return pid, Channel(ours)


def serve(program: Program, listener: socket.socket, not_for_the_child: Sequence[Closable]) -> int:
    """The pid of a process in which `program` serves on the listening socket."""
    parent = os.getpid()
    pid = _fork()
    if pid == 0:
        _become(program, listener, parent, not_for_the_child)
    return pid


def _fork() -> int:
    """os.fork with all signals blocked; they stay blocked in the child until it is prepared for them."""
    assert threading.active_count() == 1, "a fork copies locks that other threads hold"
    _flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = -1
    try:
        pid = os.fork()
    finally:
        if pid != 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _live(parents: Sequence[Closable], life: Life, entry: Entry, control: socket.socket) -> None:
    with _last_frame():
        _reset_signals(signal.SIG_IGN)
        for end in parents:
            end.close()
        code = run(life, entry, control)
        _flush()
        os._exit(code)


def _become(
    program: Program, listener: socket.socket, parent: int, not_for_the_child: Sequence[Closable]
) -> None:
    with _last_frame():
        if sys.platform == "linux":
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(TRY_AGAIN)
        _reset_signals(signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for end in not_for_the_child:
            end.close()
        code = program(listener.fileno())
        _flush()
        os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


@contextlib.contextmanager
def _last_frame() -> Iterator[None]:
    """Whatever happens inside, a child never returns into its parent's code."""
    try:
        yield
    except BaseException:  # noqa: BLE001 the process ends here
        traceback.print_exc()
    finally:
        os._exit(FAILED)


def _reset_signals(from_the_terminal: signal.Handlers) -> None:
    """Defaults, but for the two that a terminal sends to the whole group."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, from_the_terminal)
    signal.signal(signal.SIGHUP, from_the_terminal)
