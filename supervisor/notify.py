"""What the service manager is told over the socket it names in NOTIFY_SOCKET (sd_notify(3))."""

import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass
from enum import Enum

from mailproxy import log
from mailproxy.model import Instant, Seconds

MICROSECONDS = 1_000_000

_log = log.get(__name__)


class Phase(Enum):
    """How the service stands, as the service manager calls it."""

    STARTING = ""
    READY = "READY=1"
    RELOADING = "RELOADING=1"
    STOPPING = "STOPPING=1"


def next_phase(before: Phase, *, is_settled: bool, is_stopping: bool) -> Phase:
    """A service that was ready stays so when a process falls over: its place is filled again."""
    if is_stopping:
        return Phase.STOPPING
    return Phase.READY if is_settled else before


@dataclass(slots=True)
class ServiceManager:
    """`address` None: nobody listens. `beat` is the longest time between two signs of life, None for no watchdog."""

    address: str | None = None
    beat: Seconds | None = None
    phase: Phase = Phase.STARTING
    status: str = ""
    beaten: Instant = 0.0
    is_deaf: bool = False

    def reloading(self, now: Instant) -> None:
        if self.phase is Phase.READY and self._send(
            Phase.RELOADING.value, f"MONOTONIC_USEC={int(now * MICROSECONDS)}"
        ):
            self.phase = Phase.RELOADING

    def tell(self, now: Instant, *, is_settled: bool, is_stopping: bool, status: str) -> None:
        """Say what changed since the last time, and that the caller's loop still turns.

        What could not be sent is said again at the next turn.
        """
        if self.address is None:
            return
        phase = next_phase(self.phase, is_settled=is_settled, is_stopping=is_stopping)
        news = [phase.value] if phase is not self.phase else []
        if status != self.status:
            news.append(f"STATUS={status}")
        if self.beat is not None and now - self.beaten >= self.beat:
            news.append("WATCHDOG=1")
        if news and self._send(*news):
            self.phase, self.status = phase, status
            self.beaten = now if news[-1] == "WATCHDOG=1" else self.beaten

    def _send(self, *lines: str) -> bool:
        if self.address is None:
            return False
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), address)
        except BlockingIOError:
            return False
        except OSError as error:
            if not self.is_deaf:
                _log.warning("cannot_notify", error=str(error))
            self.is_deaf = True
            return False
        self.is_deaf = False
        return True


def service_manager(environ: MutableMapping[str, str]) -> ServiceManager:
    """Who started this process, taken out of `environ`: gunicorn would announce itself to it as the service."""
    address = environ.pop("NOTIFY_SOCKET", None)
    interval, whose = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
    is_watched = interval.isdecimal() and int(interval) > 0 and whose in ("", str(os.getpid()))
    return ServiceManager(address or None, int(interval) / MICROSECONDS / 2 if is_watched else None)
