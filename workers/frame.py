"""The life of a worker: event loop, heartbeat, word from the supervisor, drain with a deadline, exit code.

It ends, draining, on SIGTERM and when the supervisor is gone: then the control channel is at its end.
"""

import asyncio
import contextlib
import faulthandler
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import uvloop

from mailproxy import log, metrics
from mailproxy.config import Settings
from mailproxy.errors import ConfigurationError, StorageUnavailable
from mailproxy.model import Instant, Seconds
from workers.control import AccountSlot, Beat, Message, Ready, decode, encode

DONE, FAILED, TRY_AGAIN, MISCONFIGURED = 0, 1, 75, 78

ORPHAN_DRAIN: Seconds = 6.0
HURRIED_DRAIN: Seconds = 2.0
GRACE: Seconds = 0.5
LONGEST_LINE = 1 << 24

T = TypeVar("T")

_log = log.get(__name__)


def _unheard(line: bytes) -> None:
    """Where words go of a worker that runs without a supervisor, or has lost it."""


@dataclass(slots=True, eq=False)
class Life:
    """What an entry is given: who it is, what it shall do, and when it has to end.

    `owner` is unique for ever; `role` and `number` name the place it fills, which the next one gets after it.
    `succeeds` are dead owners whose leases may be taken at once. `inbox` brings `Assign`, `Wake`, `Reaped`.
    `stopping` is set once; from then on `drain_left()` counts down.
    """

    settings: Settings
    role: str
    number: int
    owner: str
    succeeds: tuple[str, ...] = ()
    assigned: tuple[AccountSlot, ...] = ()
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    inbox: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    write: Callable[[bytes], None] = field(default=_unheard, repr=False)
    ends_at: Instant | None = field(default=None, repr=False)

    def ready(self) -> None:
        """To be called once the worker can do its work; until then its death is one at birth."""
        self.tell(Ready())

    def tell(self, message: Message) -> None:
        self.write(encode(message))

    def stop(self, within: Seconds) -> None:
        """Begin to drain, or shorten the time left when already draining."""
        ends_at = time.monotonic() + within
        self.ends_at = ends_at if self.ends_at is None else min(ends_at, self.ends_at)
        self.stopping.set()

    def drain_left(self) -> Seconds:
        """Seconds until what still runs is cut off; never negative."""
        if self.ends_at is None:
            return self.settings.drain_seconds
        return max(0.0, self.ends_at - time.monotonic())


Entry = Callable[[Life], Awaitable[int | None]]


async def drain(tasks: Iterable[asyncio.Future[T]], left: Callable[[], Seconds]) -> set[asyncio.Future[T]]:
    """Wait for `tasks` while `left()` says so, then cancel the rest and return it.

    `left` is asked again and again because a second SIGTERM shortens it.
    """
    pending = set(tasks)
    while pending and (seconds := left()) > 0:
        _, pending = await asyncio.wait(pending, timeout=min(seconds, 0.2))
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.wait(pending, timeout=GRACE)
    return pending


def run(life: Life, entry: Entry, control: socket.socket) -> int:
    """Run an entry in this process, whose signals are still blocked, and return the exit code."""
    faulthandler.enable()
    log.bind(role=life.role, owner=life.owner)
    _count_with_others(life)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_live(life, entry, control)) or DONE
    except asyncio.CancelledError:
        _log.warning("cut_off")
        return TRY_AGAIN
    except Exception as error:  # noqa: BLE001 the outermost frame: everything becomes an exit code
        code = exit_code(error)
        _log.error("failed", code=code, error=str(error), exc_info=code == FAILED)
        return code


def _count_with_others(life: Life) -> None:
    """Metrics are no reason not to send: without a place to share them they are only missing."""
    settings = life.settings
    try:
        metrics.set_up(
            settings.state_dir / "metrics",
            f"{life.role}-{life.number}",
            tenant_label=settings.metrics_tenant_label,
        )
    except OSError as error:
        _log.warning("metrics_not_shared", error=str(error))


def exit_code(error: BaseException) -> int:
    """What an error of an entry means to the supervisor; in a group a bug outweighs the rest."""
    if isinstance(error, BaseExceptionGroup):
        codes = {exit_code(one) for one in error.exceptions}
        return next(code for code in (FAILED, MISCONFIGURED, TRY_AGAIN) if code in codes)
    if isinstance(error, ConfigurationError):
        return MISCONFIGURED
    return TRY_AGAIN if isinstance(error, StorageUnavailable) else FAILED


async def _live(life: Life, entry: Entry, control: socket.socket) -> int | None:
    reader, writer = await asyncio.open_unix_connection(sock=control, limit=LONGEST_LINE)
    life.write = writer.write
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _on_sigterm, life)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    work = asyncio.ensure_future(entry(life))
    aside = [asyncio.create_task(part) for part in (_beat(life), _listen(life, reader), _cut_off(life, work))]
    try:
        return await work
    finally:
        for task in aside:
            task.cancel()
        await asyncio.wait(aside)
        await _hang_up(writer)


def _on_sigterm(life: Life) -> None:
    life.stop(HURRIED_DRAIN if life.stopping.is_set() else life.settings.drain_seconds)


async def _beat(life: Life) -> None:
    while True:
        life.tell(Beat())
        await asyncio.sleep(1.0)


async def _listen(life: Life, reader: asyncio.StreamReader) -> None:
    try:
        while line := await reader.readline():
            life.inbox.put_nowait(decode(line))
    except (ConnectionError, ValueError) as error:
        _log.error("control_channel_broken", error=str(error))
    life.write = _unheard
    _log.warning("orphaned")
    # A loop that hangs from here on must not stay either: SIGALRM's default action needs no loop.
    signal.setitimer(signal.ITIMER_REAL, ORPHAN_DRAIN + 3 * GRACE)
    life.stop(ORPHAN_DRAIN)


async def _cut_off(life: Life, work: asyncio.Future[Any]) -> None:  # Any: whatever the entry returns
    await life.stopping.wait()
    await drain([work], lambda: (life.ends_at or 0.0) + 2 * GRACE - time.monotonic())


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    """Let the last words reach the supervisor, if it still listens."""
    writer.close()
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(GRACE):
            await writer.wait_closed()
