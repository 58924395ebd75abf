"""Does to a stage what a plan says, and writes down what was done."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import psutil

from tests.campaign.histories import Fault
from tests.campaign.plan import FILL_DISK, ROLES, STOP_DATABASE, STOP_SENDER, Act
from tests.campaign.stage import Node, Stage
from tests.process.service import lives, until

VICTIM_PATIENCE = 20.0


class Faults:
    """`play` does one act after the other at its time; threads restart nodes and undo what lasts."""

    def __init__(self, stage: Stage, tell: Callable[[str], None]) -> None:
        self.skipped: list[Act] = []
        self._stage = stage
        self._tell = tell
        self._restarts: dict[int, Future[None]] = {}
        self._undone: dict[str, Future[None]] = {}
        self._pool = ThreadPoolExecutor(max_workers=16)

    def play(self, acts: list[Act], seconds: float) -> None:
        """Returns when `seconds` are over, all is done and all is undone.

        Where one has to wait for its victim, all later ones do: they keep their distances.
        """
        started = time.monotonic()
        with self._pool:
            for act in acts:
                time.sleep(max(0.0, started + act.at - time.monotonic()))
                self._tell(act.kind)
                self._do(act)
                started = max(started, time.monotonic() - act.at)
            time.sleep(max(0.0, started + seconds - time.monotonic()))
            for ended in (*self._undone.values(), *self._restarts.values()):
                ended.result()

    def _do(self, act: Act) -> None:
        if undone := self._undone.pop(act.kind, None):
            undone.result()
        node = self._stage.nodes[act.node % len(self._stage.nodes)]
        match act.kind:
            case _ if act.kind in ROLES:
                self._kill(act, node)
            case _ if act.kind == STOP_SENDER:
                self._stop_sender(act)
            case _ if act.kind == STOP_DATABASE:
                self._stop_database(act)
            case _ if act.kind == FILL_DISK:
                self._fill_disk(act)

    # -- processes

    def _kill(self, act: Act, node: Node) -> None:
        role = ROLES[act.kind]
        if role == "sender":
            for node, pid in self._a_sender(act, signal.SIGKILL):
                self._record(act, node, pid, cuts=1)
            return
        self._await_restart(node)
        senders = len(node.senders())
        victim = 0
        for _ in self._patiently(act):
            with contextlib.suppress(AssertionError, psutil.NoSuchProcess):
                victim = node.kill(role)[-1]
                break
        if victim:
            self._record(act, node, victim, cuts=senders if role == "everything" else 0)
        if role in ("supervisor", "everything"):
            self._restarts[node.number] = self._pool.submit(node.start)

    def _a_sender(self, act: Act, number: signal.Signals) -> Iterator[tuple[Node, int]]:
        """One that works, of whichever node, and was sent the signal; at most one is yielded."""
        for _ in self._patiently(act):
            found = [(node, pid) for node in self._stage.nodes for pid in node.senders() if _runs(pid)]
            if not found:
                continue
            node, pid = found[int(act.pick * len(found))]
            with contextlib.suppress(ProcessLookupError):  # it may just have ended by itself
                os.kill(pid, number)
                yield node, pid
                return

    def _patiently(self, act: Act) -> Iterator[None]:
        """Again and again until there is somebody to do it to; what never can be is `skipped`."""
        deadline = time.monotonic() + VICTIM_PATIENCE
        while time.monotonic() < deadline:
            yield
            time.sleep(0.05)
        self.skipped.append(act)

    def _stop_sender(self, act: Act) -> None:
        for node, pid in self._a_sender(act, signal.SIGSTOP):
            self._record(act, node, pid, cuts=1)
            self._undo_in(act, partial(_continue, pid))

    def _await_restart(self, node: Node) -> None:
        if restart := self._restarts.pop(node.number, None):
            restart.result()

    # -- database and disk

    def _stop_database(self, act: Act) -> None:
        postgres = self._stage.postgres
        if postgres is None:
            return
        senders = sum(len(node.senders()) for node in self._stage.nodes)
        postgres.stop_at_once()
        self._record(act, None, None, cuts=senders)
        self._undo_in(act, postgres.start)

    def _fill_disk(self, act: Act) -> None:
        disk = self._stage.disk
        if disk is None:
            return
        ballast = disk / "ballast"
        with ballast.open("wb") as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 20))
                file.flush()
        with ballast.open("ab") as file, contextlib.suppress(OSError):
            while True:
                os.write(file.fileno(), bytes(512))
        node = self._stage.nodes[0]
        self._record(act, node, None, cuts=len(node.senders()))
        self._undo_in(act, ballast.unlink)

    # -- around

    def _record(self, act: Act, node: Node | None, pid: int | None, *, cuts: int) -> None:
        number = -1 if node is None else node.number
        self._stage.faults.write(Fault(time.time(), act.kind, number, pid, cuts))

    def _undo_in(self, act: Act, undo: Callable[[], None]) -> None:
        def later() -> None:
            time.sleep(act.lasts)
            undo()

        self._undone[act.kind] = self._pool.submit(later)


def _runs(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_STOPPED
    return False


def _continue(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    until(lambda: not lives(pid) or _runs(pid))
