"""The demo: a throw-away instance, real messages through it, counted where they arrive."""

import asyncio
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import ClassVar

from mailproxy.demo import letters, postgres
from mailproxy.demo.client import CallRefused
from mailproxy.demo.endpoint import Endpoint
from mailproxy.demo.letters import Mailing, Tally
from mailproxy.demo.service import Service, ServiceFailed
from mailproxy.demo.sink import Delivery, Dialogue, Sink
from mailproxy.demo.view import Summary, View
from mailproxy.model import EventType, Instant, Seconds

TENANT = "demo"
RETRY_AFTER: Seconds = 1.0
PATIENCE: Seconds = 15.0
SLOWEST_RATE = 100.0
_LOOK_AGAIN: Seconds = 0.1
_READER = "demo-001"


def run_demo(*, postgres: bool, messages: int = 200, as_json: bool = False) -> int:
    """The exit code: 1 when a message did not become what it had to. Leaves nothing behind, however it ends."""
    view = View(as_json=as_json)
    with _like_ctrl_c(signal.SIGTERM, signal.SIGHUP), ExitStack() as stack:
        # First, as an interrupt in the middle of making it would leave it: nobody has seen anything to interrupt yet.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mailproxy-demo-"))
        url = _postgres(view, stack) if postgres else None
        return asyncio.run(_demo(Path(folder), url, messages, view))


def _postgres(view: View, stack: ExitStack) -> str:
    view.say("Starting a throw-away PostgreSQL …")
    return stack.enter_context(postgres.server())


class _Punctual(Dialogue):
    async def data(self) -> bool:
        assert isinstance(self.sink, _TimedSink)
        self.sink.first_data = self.sink.first_data or time.time()
        return await super().data()


class _TimedSink(Sink):
    """Notes when the first DATA came."""

    dialogue: ClassVar[type[Dialogue]] = _Punctual
    first_data: Instant | None = None


@dataclass(frozen=True, slots=True)
class _FarEnd:
    """The servers at the other side: an SMTP server, one that fails at first, and the tenant's."""

    steady: _TimedSink
    unsteady: Sink
    tenant: Endpoint

    def deliveries(self) -> list[Delivery]:
        return [*self.steady.messages(), *self.unsteady.messages()]

    def tally(self) -> Tally:
        return letters.tally(self.deliveries(), self.tenant.calls())


async def _demo(folder: Path, database_url: str | None, count: int, view: View) -> int:
    kept = folder / "received"
    kept.mkdir()
    sent = letters.mailing(count)
    async with AsyncExitStack() as stack:
        far = _FarEnd(
            await stack.enter_async_context(_TimedSink(folder / "steady.log", keep=kept)),
            await stack.enter_async_context(Sink(folder / "unsteady.log")),
            await stack.enter_async_context(Endpoint(folder / "tenant.log")),
        )
        view.say("Starting mail-proxy serve …")
        service = Service(folder, database_url=database_url)
        try:
            await stack.enter_async_context(service)
            view.say(f"It listens on {service.url}; SMTP servers and tenant are beside it.")
            started = await _mail(service, far, sent, view)
        except (ServiceFailed, CallRefused) as problem:
            view.complain([problem.detail], service.last_lines())
            return 1
        summary = _summary(far, sent, started, "postgresql" if database_url else "sqlite")
        view.result(summary, _received(far, kept))
        if summary.faults:
            view.complain(summary.faults, service.last_lines())
        return 1 if summary.faults else 0


async def _mail(service: Service, far: _FarEnd, sent: Mailing, view: View) -> Instant:
    """Post everything, then watch until it has all arrived or patience ends; returns when posting began."""
    async with service.client() as admin:
        tenant = {"id": TENANT, "name": "The demo's tenant", "client_base_url": far.tenant.url}
        key = (await admin.call("POST", "/tenant", tenant))["api_key"]
    async with service.client(key) as client:
        for name, sink in ((letters.STEADY, far.steady), (letters.UNSTEADY, far.unsteady)):
            account = {"id": name, "host": sink.host, "port": sink.port, "use_tls": False}
            await client.call("POST", "/account", account | {"retry_delays": [RETRY_AFTER]})
        started = time.time()
        with view.bars(len(sent.messages)) as bars:
            posted = 0
            for messages in sent.calls():
                await client.call("POST", "/commands/add-messages", {"messages": messages})
                posted += len(messages)
                bars.show(posted, 0, 0)
            deadline = time.monotonic() + PATIENCE + posted / SLOWEST_RATE
            while not (now := far.tally()).is_complete(sent) and time.monotonic() < deadline:
                bars.show(posted, len(now.arrived), len(now.reported))
                await asyncio.sleep(_LOOK_AGAIN)
            bars.show(posted, len(now.arrived), len(now.reported))
    return started


def _summary(far: _FarEnd, sent: Mailing, started: Instant, database: str) -> Summary:
    count = far.tally()
    steady, calls = far.steady.messages(), far.tenant.calls()
    busy = max((one.t for one in steady), default=started) - started
    first = far.steady.first_data
    return Summary(
        database=database,
        messages=len(sent.messages),
        calls=len(sent.calls()),
        sent=len(count.arrived),
        refused=len(count.told[EventType.ERROR] - count.arrived.keys()),
        retried=sum(1 for _, client_id in far.unsteady.deferrals if client_id in count.arrived),
        reported=len(count.reported),
        messages_per_second=round(len(steady) / busy, 1) if steady else 0.0,
        seconds=round(max((one.t for one in calls), default=started) - started, 3),
        post_to_first_data_seconds=None if first is None else round(first - started, 4),
        faults=count.faults(sent),
    )


def _received(far: _FarEnd, kept: Path) -> bytes | None:
    """The bytes of one message, as they arrived."""
    digest = next((one.sha256 for one in far.steady.messages() if one.id == _READER), None)
    return None if digest is None else (kept / f"{digest}.eml").read_bytes()


@contextmanager
def _like_ctrl_c(*numbers: signal.Signals) -> Iterator[None]:
    """While inside, these signals do what Ctrl-C does: everything is put away on the way out."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, heed in before.items():
            signal.signal(number, heed)
