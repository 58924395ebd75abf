"""The server process behind an instance: what `server.pid` says, and whether that process still is the one."""

import errno
import json
import os
import signal
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from mailproxy.cli.home import Instance, write_private
from mailproxy.model import Instant, Seconds

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Server:
    """A supervisor. `birth` tells it from a later process that was given the same pid."""

    pid: int
    port: int
    host: str
    started_at: Instant
    birth: str

    @property
    def reachable_host(self) -> str:
        """An address of this machine on which a server bound to `host` answers."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)  # noqa: S104

    @property
    def url(self) -> str:
        return url_of(self.host, self.port)

    @property
    def alive(self) -> bool:
        return birth_of(self.pid) == self.birth


def url_of(host: str, port: int) -> str:
    """What to type into a client: a wildcard address is no place to connect to."""
    name = {"0.0.0.0": "localhost", "::": "localhost", "": "localhost"}.get(host, host)  # noqa: S104
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def port_is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def record_own(instance: Instance, host: str, port: int) -> None:
    """Write `server.pid` for this process."""
    birth = birth_of(os.getpid())
    assert birth is not None, "this process is alive"
    server = Server(os.getpid(), port, host, time.time(), birth)
    write_private(instance.pid_file, json.dumps(asdict(server)) + "\n")


def forget_own(instance: Instance) -> None:
    recorded = _recorded(instance)
    if recorded is not None and recorded.pid == os.getpid():
        instance.pid_file.unlink(missing_ok=True)


def running(instance: Instance) -> Server | None:
    """The instance's server if it runs; a pid file of anything else is ignored."""
    server = _recorded(instance)
    return server if server is not None and server.alive else None


def ask_to_stop(server: Server) -> None:
    _signal(server, signal.SIGTERM)


def wait_until_gone(server: Server, patience: Seconds) -> bool:
    deadline = time.monotonic() + patience
    while server.alive:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def kill_all(server: Server) -> None:
    """End the supervisor and everything below it; it is stopped first, so that it cannot fork meanwhile."""
    _signal(server, signal.SIGSTOP)
    doomed = [(pid, birth_of(pid)) for pid in _descendants(server.pid)] if server.alive else []
    _signal(server, signal.SIGKILL)
    for pid, birth in doomed:
        if birth is not None and birth_of(pid) == birth:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def birth_of(pid: int) -> str | None:
    """When the process began, in words that no other process of this machine shares; None for a dead one."""
    try:
        fields = _stat(pid)
        boot = _PROC.joinpath("sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def _stat(pid: int) -> list[str]:
    """The fields of proc(5)'s `stat` from the third one, the state, on."""
    return _PROC.joinpath(str(pid), "stat").read_text(errors="replace").rpartition(")")[2].split()


def _descendants(pid: int) -> list[int]:
    pairs = _parents()
    found = [pid]
    for parent in found:
        found += [child for child, above in pairs if above == parent]
    return found[1:]


def _parents() -> list[tuple[int, int]]:
    """Every process of this machine with its parent."""
    pairs = []
    for entry in _PROC.glob("[0-9]*"):
        with suppress(OSError):
            pairs.append((int(entry.name), int(_stat(int(entry.name))[1])))
    return pairs


def _signal(server: Server, number: signal.Signals) -> None:
    if server.alive:
        with suppress(ProcessLookupError):
            os.kill(server.pid, number)


def _recorded(instance: Instance) -> Server | None:
    try:
        return Server(**json.loads(instance.pid_file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
