"""What the service manager hears from a real `mail-proxy serve`, on a socket that is ours."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.notify import Phase, ServiceManager, next_phase, service_manager
from tests.process.service import Service
from tests.supervisor.conftest import Start

PATIENCE = 60.0


class Listener:
    """The service manager's end: every line that arrived, in order."""

    def __init__(self, address: str) -> None:
        self.lines: list[str] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.settimeout(PATIENCE)

    def until(self, wanted: Callable[[str], bool]) -> list[str]:
        """The lines from now on, up to and with the first one that is wanted."""
        deadline, heard = time.monotonic() + PATIENCE, []
        while not any(map(wanted, heard)):
            assert time.monotonic() < deadline, f"heard {heard}"
            heard += self.socket.recv(4096).decode().split("\n")
        return heard

    def hears_nothing(self) -> bool:
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self.socket.recv(4096)
            return False
        return True


def _is(line: str) -> Callable[[str], bool]:
    return lambda heard: heard == line


@pytest.fixture
def listen() -> Iterator[Callable[[str], Listener]]:
    with contextlib.ExitStack() as stack:

        def listening(address: str) -> Listener:
            listener = Listener(address)
            stack.callback(listener.socket.close)
            return listener

        yield listening


def test_a_service_says_when_it_is_ready_lives_and_stops(
    listen: Callable[[str], Listener], tmp_path: Path
) -> None:
    address = f"@mailproxy-test-{os.getpid()}"
    listener = listen(address)
    told = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "400000"}
    service = Service(tmp_path, {"GMP_DB_PATH": str(tmp_path / "mail.db"), **told})
    with contextlib.ExitStack() as stack:
        stack.callback(service.end)
        service._spawn()
        started = listener.until(_is("READY=1"))
        assert "WATCHDOG=1" in started
        assert not {"RELOADING=1", "STOPPING=1"} & {*started}
        assert any(line.startswith("STATUS=") and "processes up" in line for line in started)
        assert service._listens()
        assert service.client.get("/readyz").status_code == 200
        service.signal(signal.SIGTERM)
        assert "READY=1" not in listener.until(_is("STOPPING=1"))
        assert service.wait() == 0


@pytest.fixture
def watched(
    listen: Callable[[str], Listener], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Listener]:
    """Makes whatever is started next believe that it was started by a service manager."""

    def watching(**more: str) -> Listener:
        address = str(tmp_path / "notify")
        for name, value in {"NOTIFY_SOCKET": address, **more}.items():
            monkeypatch.setenv(name, value)
        return listen(address)

    return watching


def test_a_reload_is_announced_and_ends_when_everybody_has_the_new_settings(
    watched: Callable[..., Listener], start: Start
) -> None:
    listener = watched()
    service = start(api=True)
    listener.until(_is("READY=1"))
    before = time.monotonic()
    service.signal(signal.SIGHUP)
    announced = listener.until(_is("RELOADING=1"))
    stamp = next(line for line in announced if line.startswith("MONOTONIC_USEC="))
    assert int(before * 1e6) <= int(stamp.partition("=")[2]) <= time.monotonic() * 1e6
    listener.until(_is("READY=1"))
    assert [len(service.logged("started", role=role)) for role in ("api", "scout", "maintenance")] == [
        2,
        2,
        2,
    ]


def test_a_refused_reload_ends_at_once_and_changes_nothing(
    watched: Callable[..., Listener], start: Start
) -> None:
    listener = watched()
    service = start()
    listener.until(_is("READY=1"))
    service.configure(invalid=True)
    service.signal(signal.SIGHUP)
    listener.until(_is("RELOADING=1"))
    listener.until(_is("READY=1"))
    assert service.logged("reload_refused")
    assert len(service.logged("started", role="scout")) == 1


def test_a_supervisor_that_stands_still_gives_no_sign_of_life(
    watched: Callable[..., Listener], start: Start
) -> None:
    listener = watched(WATCHDOG_USEC="100000")
    service = start()
    listener.until(_is("WATCHDOG=1"))
    service.signal(signal.SIGSTOP)
    os.waitid(os.P_PID, service.process.pid, os.WSTOPPED | os.WNOWAIT)
    while not listener.hears_nothing():
        pass
    service.signal(signal.SIGCONT)
    listener.socket.settimeout(PATIENCE)
    listener.until(_is("WATCHDOG=1"))


def test_what_the_manager_said_is_taken_out_of_the_environment() -> None:
    environ = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
    manager = service_manager(environ)
    assert (manager.address, manager.beat, environ) == ("/run/notify", 15.0, {})


@pytest.mark.parametrize("told", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}])
def test_a_watchdog_is_fed_only_by_whom_it_watches(told: dict[str, str]) -> None:
    assert service_manager({"NOTIFY_SOCKET": "/run/notify", **told}).beat is None


def test_what_could_not_be_sent_is_said_again(listen: Callable[[str], Listener], tmp_path: Path) -> None:
    manager = ServiceManager(str(tmp_path / "notify"))
    manager.tell(1.0, is_settled=True, is_stopping=False, status="up")
    listener = listen(str(tmp_path / "notify"))
    manager.tell(2.0, is_settled=True, is_stopping=False, status="up")
    assert listener.until(_is("STATUS=up")) == ["READY=1", "STATUS=up"]
    manager.tell(3.0, is_settled=True, is_stopping=False, status="up")
    assert listener.hears_nothing()


@pytest.mark.parametrize(
    ("before", "is_settled", "is_stopping", "after"),
    [
        (Phase.STARTING, False, False, Phase.STARTING),
        (Phase.STARTING, True, False, Phase.READY),
        (Phase.READY, False, False, Phase.READY),
        (Phase.RELOADING, False, False, Phase.RELOADING),
        (Phase.RELOADING, True, False, Phase.READY),
        (Phase.READY, True, True, Phase.STOPPING),
    ],
)
def test_a_phase_follows_another(before: Phase, is_settled: bool, is_stopping: bool, after: Phase) -> None:
    assert next_phase(before, is_settled=is_settled, is_stopping=is_stopping) is after
