"""The far ends as processes of their own: what they write down before they answer is what counts."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.process.growing import GrowingLog
from tests.process.service import ROOT, Service
from tests.support.smtp import Delivery

# What an id is rejected for that an earlier call, whose answer was lost, has brought on its way.
TAKEN_BEFORE = {"already_sent", "being_sent", "outcome_unknown"}


@dataclass(frozen=True, slots=True)
class Told:
    """One event of a report, and when it came."""

    t: float
    id: str
    event_id: int
    kind: str
    item: Mapping[str, Any] = field(repr=False)


class SmtpServer:
    def __init__(self, port: int, log: Path, keep: Path | None = None) -> None:
        self.port = port
        self._log = GrowingLog(log, _delivery)
        self._keep = keep

    def deliveries(self, tenant: str) -> list[Delivery]:
        """Those of messages whose ids begin with the tenant's, as `letters` makes them."""
        return [one for one in self._log.read() if (one.id or "").startswith(f"{tenant}-")]

    def contents(self, id: str) -> list[bytes]:
        """The bytes of each delivery of the message; needs `keep`."""
        assert self._keep is not None
        return [(self._keep / f"{one.sha256}.eml").read_bytes() for one in self.of(id)]

    def of(self, id: str) -> list[Delivery]:
        """Those of one message."""
        return [one for one in self._log.read() if one.id == id]

    def times(self, tenant: str) -> Counter[str]:
        """How often each message arrived."""
        return Counter(one.id or "" for one in self.deliveries(tenant))


class TenantEndpoint:
    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self._log = GrowingLog(log, _told)

    @property
    def calls(self) -> int:
        return len(self._log.read())

    def told(self, tenant: str) -> list[Told]:
        return [one for call in self._log.read() for one in call if one.id.startswith(f"{tenant}-")]

    def ids(self, tenant: str, *kinds: str) -> set[str]:
        """The messages of which one of these kinds of event was reported."""
        return {one.id for one in self.told(tenant) if one.kind in kinds}


def _delivery(line: bytes) -> Delivery:
    fields = json.loads(line)
    return Delivery(**{**fields, "rcpts": tuple(fields["rcpts"])})


def _told(line: bytes) -> list[Told]:
    call = json.loads(line)
    return [
        Told(call["t"], item["id"], item["event_id"], item["event_type"], item)
        for item in call["body"]["delivery_report"]
    ]


@contextlib.contextmanager
def smtp_server(log: Path, *, keep: Path | None = None, **manners: object) -> Iterator[SmtpServer]:
    behaviour = [part for name, value in manners.items() for part in _behaviour(name, value)]
    keeping = [] if keep is None else ["--keep", str(keep)]
    with _peer("tests.support.smtp", "--log", str(log), "--with-parent", *keeping, *behaviour) as said:
        yield SmtpServer(json.loads(said)["port"], log, keep)


def _behaviour(name: str, value: object) -> Sequence[str]:
    return "--behaviour", f"{name}={json.dumps(value)}"


@contextlib.contextmanager
def tenant_endpoint(log: Path, *manners: Mapping[str, object]) -> Iterator[TenantEndpoint]:
    with _peer("tests.support.tenant", str(log), json.dumps(manners)) as said:
        yield TenantEndpoint(f"http://127.0.0.1:{int(said)}", log)


@contextlib.contextmanager
def _peer(module: str, *arguments: str) -> Iterator[str]:
    """A program of ours; what it says first is where it listens."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdin=pipe, stdout=pipe, cwd=ROOT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


def letters(
    tenant: str, account: str, numbers: range, to: str = "bob@example.com", **fields: object
) -> list[dict[str, object]]:
    """Messages whose ids say whose they are and, between tests, which."""
    return [
        {
            "id": f"{tenant}-{account}-{number}",
            "tenant_id": tenant,
            "account_id": account,
            "from": "alice@example.org",
            "to": to,
            "subject": f"letter {number}",
            "body": "hello",
            **fields,
        }
        for number in numbers
    ]


class Load:
    """A client that goes on posting while other things happen, in a thread.

    What is not accepted is posted again until it is, as clients do; `refusals` are the answers and errors
    that made it necessary.
    """

    def __init__(
        self, service: Service, batches: Iterable[Sequence[Mapping[str, object]]], *, pause: float
    ) -> None:
        self.accepted: set[str] = set()
        self.refusals: list[str] = []
        self._service = service
        self._batches = batches
        self._pause = pause
        self._enough = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def goes_on(self) -> bool:
        return self._thread.is_alive()

    def end(self) -> None:
        """Begin no further batch."""
        self._enough.set()

    def finish(self, seconds: float = 30.0) -> None:
        """Wait until everything has been accepted."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), self.refusals[-3:]

    def _run(self) -> None:
        with self._service.new_client() as client:
            for batch in self._batches:
                while not self._stop.is_set() and not self._post(client, batch):
                    self._stop.wait(0.05)
                if self._enough.is_set() or self._stop.wait(self._pause):
                    return

    def _post(self, client: httpx.Client, batch: Sequence[Mapping[str, object]]) -> bool:
        try:
            answer = client.post("/commands/add-messages", json={"messages": batch})
        except httpx.TransportError as error:
            self.refusals.append(repr(error))
            return False
        said = answer.json()
        detail = said.get("detail")
        rejected = detail["rejected"] if isinstance(detail, dict) else said.get("rejected", ())
        taken = {one["id"] for one in said.get("accepted", ())}
        taken |= {one["id"] for one in rejected if one["code"] in TAKEN_BEFORE}
        self.accepted |= taken
        if len(taken) < len(batch):
            self.refusals.append(f"{answer.status_code} {answer.text[:200]}")
        return len(taken) == len(batch)
