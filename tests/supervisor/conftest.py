import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]

Event = dict[str, Any]


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The first true value of `condition`."""
    ends_at = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < ends_at, "the condition was never met"
        time.sleep(0.01)
    return value


class Service:
    """A running `driver` and what it and its workers wrote."""

    def __init__(self, directory: Path, *, api: bool, silence: float, **settings: object) -> None:
        self.directory = directory
        self.tell("options", json.dumps({"api": api, "silence": silence}))
        self.configure(**settings)
        with (directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.supervisor.driver", str(directory)],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def tell(self, name: str, text: str = "") -> None:
        fresh = self.directory / f"{name}.new"
        fresh.write_text(text)
        fresh.rename(self.directory / name)

    def untell(self, name: str) -> None:
        (self.directory / name).unlink(missing_ok=True)

    def configure(self, **settings: object) -> None:
        self.tell("settings", json.dumps({"drain_seconds": 10, "node_id": "first", **settings}))

    def want(self, *accounts: int) -> None:
        self.tell("wanted", json.dumps([(account, 0) for account in accounts]))

    def events(self, event: str, role: str | None = None) -> list[Event]:
        with contextlib.suppress(FileNotFoundError):
            lines = (self.directory / "events").read_text().splitlines()
            found = [json.loads(line) for line in lines]
            return [one for one in found if one["event"] == event and role in (None, one["role"])]
        return []

    def logged(self, event: str, **facts: object) -> list[Event]:
        lines = (self.directory / "log").read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [one for one in found if one["event"] == event and facts.items() <= one.items()]

    def await_event(self, event: str, role: str | None = None, count: int = 1) -> Event:
        return until(lambda: len(found := self.events(event, role)) >= count and found)[count - 1]

    def await_log(self, event: str, count: int = 1, **facts: object) -> Event:
        return until(lambda: len(found := self.logged(event, **facts)) >= count and found)[count - 1]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def members(self) -> list[int]:
        """The processes of its session that still live, zombies left out."""
        alive = []
        for pid in psutil.pids():
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                if os.getsid(pid) == self.process.pid and psutil.Process(pid).status() != "zombie":
                    alive.append(pid)
        return alive

    def end(self) -> None:
        while members := self.members():
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()


Start = Callable[..., Service]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a service, ended with all of its processes whatever happens."""
    services: list[Service] = []

    def starting(*, api: bool = False, silence: float = 30.0, **settings: object) -> Service:
        services.append(Service(tmp_path, api=api, silence=silence, **settings))
        return services[-1]

    yield starting
    for service in services:
        service.end()
