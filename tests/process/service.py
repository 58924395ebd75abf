"""`mail-proxy serve` as a user runs it: a process tree of its own, spoken to over HTTP and by signals."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.process.growing import GrowingLog

ADMIN = "admin-token"
ROOT = Path(__file__).parents[2]
START_PATIENCE = 60.0
STOP_PATIENCE = 30.0
FINAL = {"sent", "error", "unknown", "expired", "cancelled"}


def until(
    condition: Callable[[], object],
    seconds: float = 20.0,
    *,
    so: Callable[[], str] = str,
    every: float = 0.01,
) -> float:
    """Wait for a condition; the seconds it took. `so` says at a failure how things stand."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not within {seconds:g} s: {so()}"
        time.sleep(every)
    return time.monotonic() - started


def lives(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


class Service:
    """One node: its logs are `server-N.log` in `folder`, where they stay; `environ` names its database.

    The first start takes a free port, and later ones the same again, as a restarted service does.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str], **settings: str) -> None:
        self.folder = folder
        self._environ = {
            "PATH": os.environ["PATH"],
            "GMP_API_TOKEN": ADMIN,
            "GMP_STATE_DIR": str(folder / "state"),
            "GMP_RETRY_DELAYS": "0.2",
            "GMP_LOG_FORMAT": "json",
            **environ,
            **settings,
        }
        self.port = 0
        self.client = httpx.Client(verify=False)
        self._numbers = count(1)
        self._sessions: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._log = GrowingLog(folder / "server-0.log", _event)

    # -- life

    def start(self) -> None:
        """Start, and wait until it is ready; a port that orphans still keep is waited for."""
        deadline = time.monotonic() + START_PATIENCE
        while not self._is_up(deadline):
            assert time.monotonic() < deadline, self.last_words()

    def _is_up(self, deadline: float) -> bool:
        process = self._spawn()
        while process.poll() is None and time.monotonic() < deadline:
            if self._listens():
                with contextlib.suppress(httpx.TransportError):
                    if self.client.get("/readyz").status_code == 200:
                        return True
            time.sleep(0.02)
        assert process.poll() in (None, 75), self.last_words()
        return False

    def program(self) -> list[str]:
        """The module that is run, and its arguments."""
        return ["mailproxy.cli", "serve", "-h", "127.0.0.1", "-p", str(self.port)]

    def _spawn(self) -> subprocess.Popen[bytes]:
        log = self.folder / f"server-{next(self._numbers)}.log"
        with log.open("wb") as output:
            # A session of its own: its members are found when their supervisor is gone.
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self.program()],
                env=self._environ,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._log = GrowingLog(log, _event)
        self._sessions.append(self._process.pid)
        return self._process

    def _listens(self) -> bool:
        """Whether this start has the port: as long as not, whoever answers there is left from the last one."""
        for event in self.events("listening"):
            if not self.port:
                self.port = event["port"]
                self.client = self.new_client()
            return True
        return False

    def new_client(self) -> httpx.Client:
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"X-API-Token": ADMIN},
            timeout=20.0,
            trust_env=False,
            verify=False,
        )

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit code of the service, once it has ended."""
        assert self._process is not None
        return self._process.wait(STOP_PATIENCE)

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def end(self) -> None:
        """Whatever happened, nothing of any of its starts is left."""
        self.client.close()
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    # -- processes

    def members(self) -> list[int]:
        """The live processes of all its starts."""
        found = []
        for pid in psutil.pids():
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(pid) in self._sessions and lives(pid):
                    found.append(pid)
        return found

    def orphans(self) -> list[int]:
        """Those that are not below the supervisor that runs."""
        assert self._process is not None
        tree = {
            self._process.pid,
            *(p.pid for p in psutil.Process(self._process.pid).children(recursive=True)),
        }
        return [pid for pid in self.members() if pid not in tree]

    def pids(self, role: str) -> list[int]:
        """The live processes of a role, the latest last; `worker` are gunicorn's, `api` is its master."""
        assert self._process is not None
        if role == "supervisor":
            return [self._process.pid]
        if role == "worker":
            return [child.pid for pid in self.pids("api") for child in psutil.Process(pid).children()]
        children = {child.pid for child in psutil.Process(self._process.pid).children()}
        started = [event["pid"] for event in self.events("started") if event["role"] == role]
        return [pid for pid in started if pid in children and lives(pid)]

    def kill(self, role: str) -> list[int]:
        """SIGKILL the latest process of a role, all API workers, or `everything`; returns who is dead by now."""
        victims = {"everything": self.members, "worker": lambda: self.pids("worker")}.get(
            role, lambda: self.pids(role)[-1:]
        )()
        assert victims, f"no {role} runs: {self.last_words()}"
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):  # it may have left when another one had gone
                os.kill(pid, signal.SIGKILL)
        if role in ("supervisor", "everything"):
            assert self.wait() == -signal.SIGKILL
        until(lambda: not any(map(lives, victims)))
        return victims

    def events(self, name: str) -> list[Mapping[str, Any]]:
        """The log lines of this start with that event."""
        return [event for event in self._log.read() if event.get("event") == name]

    def last_words(self) -> str:
        lines = self._log.path.read_text(errors="replace").splitlines()
        return "\n".join([str(self._log.path), *lines[-15:]])

    # -- HTTP

    def call(self, method: str, path: str, body: object = None, **query: object) -> dict[str, Any]:
        """The answer, which must be 2xx."""
        answer = self.client.request(method, path, json=body, params=query)  # type: ignore[arg-type]
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return dict(answer.json())

    def add_tenant(self, tenant: str, endpoint: str) -> None:
        self.call("POST", "/tenant", {"id": tenant, "client_base_url": endpoint})

    def add_account(self, tenant: str, account: str, port: int, **fields: object) -> None:
        given = {"id": account, "tenant_id": tenant, "host": "127.0.0.1", "port": port, "use_tls": False}
        self.call("POST", "/account", given | {"on_unknown_outcome": "hold"} | fields)

    def post(self, messages: Iterable[Mapping[str, object]]) -> set[str]:
        """The ids that were accepted."""
        answer = self.call("POST", "/commands/add-messages", {"messages": list(messages)})
        return {one["id"] for one in answer["accepted"]}

    def messages(self, tenant: str, **query: object) -> dict[str, dict[str, Any]]:
        query |= {"include_payload": False, "limit": 5000}
        listed = self.call("GET", "/messages", None, tenant_id=tenant, **query)
        assert "next_cursor" not in listed
        return {record["id"]: record for record in listed["messages"]}

    def until_final(self, tenant: str, seconds: float = 30.0) -> dict[str, dict[str, Any]]:
        """All messages of a tenant, once none of them waits any more."""
        pending = {"tenant_id": tenant, "active_only": True, "include_payload": False}

        def settled() -> bool:
            return not self.call("GET", "/messages", None, **pending)["messages"]

        until(settled, seconds, so=self.last_words, every=0.05)
        return self.messages(tenant)


def _event(line: bytes) -> Mapping[str, Any]:
    """A log line's fields; a line of others, of which there should be none, as `event`."""
    with contextlib.suppress(ValueError):
        fields = json.loads(line)
        if isinstance(fields, dict):
            return fields
    return {"event": line.decode(errors="replace")}


@contextlib.contextmanager
def running(
    folder: Path, environ: Mapping[str, str], *, kind: type[Service] = Service, **settings: str
) -> Iterator[Service]:
    """A started service, with nothing left of it afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    service = kind(folder, environ, **settings)
    try:
        service.start()
        yield service
    finally:
        service.end()
