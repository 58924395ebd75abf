"""Every transition of a message, cut off before and after its commit (RELIABILITY §2.1): what the row says then, what
it comes to with a successor, and how often the server was given the message in all.

In doubt messages are held. The hand-over's own steps, with a server at the other end, are in test_crashes.py.
"""

import asyncio
import multiprocessing
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailproxy.config import Settings
from mailproxy.model import OnUnknownOutcome, State
from sql.store import SqlStore
from tests.sender import cut
from tests.sender.world import World, make_world
from tests.support.smtp import Sink

PENDING, SENDING, SUSPENDED = State.PENDING, State.SENDING, State.SUSPENDED
SENT, ERROR, UNKNOWN = State.SENT, State.ERROR, State.UNKNOWN
# Modules are imported once, and each process is a fork of one that has no threads and no event loop.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.sender.cut"])

RESTING = {SENT, ERROR, UNKNOWN, SUSPENDED, State.CANCELLED, State.EXPIRED}


@dataclass(frozen=True, slots=True)
class Cut:
    """What the row says after the cut, what it comes to, and the deliveries the server counts."""

    row: State | None
    end: State | None
    deliveries: int


GONE = Cut(None, None, 0)
DOUBT = Cut(SENDING, UNKNOWN, 0)
KEPT_DOUBT = Cut(UNKNOWN, UNKNOWN, 0)

TABLE = {
    "accepted": (GONE, Cut(PENDING, SENT, 1)),
    "claimed": (Cut(PENDING, SENT, 1), Cut(SENDING, SENT, 1)),
    "given back": (Cut(SENDING, SENT, 1), Cut(PENDING, SENT, 1)),
    "failed unprepared": (Cut(SENDING, SENT, 1), Cut(ERROR, ERROR, 0)),
    "intended": (Cut(SENDING, SENT, 1), DOUBT),
    "sent": (DOUBT, Cut(SENT, SENT, 0)),
    "deferred by the dot": (DOUBT, Cut(State.DEFERRED, SENT, 1)),
    "refused by the dot": (DOUBT, Cut(ERROR, ERROR, 0)),
    "unknown": (DOUBT, KEPT_DOUBT),
    "retried after unknown": (DOUBT, Cut(State.DEFERRED, SENT, 1)),
    "sent by late evidence": (KEPT_DOUBT, Cut(SENT, SENT, 0)),
    "resolved as sent": (KEPT_DOUBT, Cut(SENT, SENT, 0)),
    "resolved as retry": (KEPT_DOUBT, Cut(PENDING, SENT, 1)),
    "resolved as error": (KEPT_DOUBT, Cut(ERROR, ERROR, 0)),
    "suspended": (Cut(PENDING, SENT, 1), Cut(SUSPENDED, SUSPENDED, 0)),
    "activated": (Cut(SUSPENDED, SUSPENDED, 0), Cut(PENDING, SENT, 1)),
    "cancelled": (Cut(PENDING, SENT, 1), Cut(State.CANCELLED, State.CANCELLED, 0)),
    "expired": (Cut(PENDING, State.EXPIRED, 0), Cut(State.EXPIRED, State.EXPIRED, 0)),
    "removed": (Cut(SENT, SENT, 1), Cut(None, None, 1)),
}


def test_every_transition_is_cut() -> None:
    assert TABLE.keys() == cut.ACTS.keys()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", TABLE)
async def test_cut_off(
    name: str,
    when: str,
    store: SqlStore,
    settings: Settings,
    environ: dict[str, str],
    tmp_path: Path,
) -> None:
    expected = TABLE[name][when == "after"]
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, on_unknown_outcome=OnUnknownOutcome.HOLD)
        await _before(world, name)
        await _die_at(name, when, world, environ)
        assert await _row(world, unless=expected.row) is expected.row
        async with world.sender(succeeds=(cut.OWNER,)):
            await world.until(lambda states: set(states.values()) <= RESTING)
        assert (await world.states()).get(cut.ID) is expected.end
        assert len(sink.messages()) == expected.deliveries


async def _before(world: World, name: str) -> None:
    """What has to be there before the cut."""
    match name:
        case "accepted":
            return
        case "suspended" | "activated":
            await world.post(batch_code="b")
            if name == "activated":
                await world.store.directory.suspend(world.tenant, "b")
        case "expired":
            await world.post(expires_at=time.time() + 0.05, max_age=None)
            await asyncio.sleep(0.1)
        case "removed":
            await world.post()
            async with world.sender():
                await world.all_in(SENT)
            await _report(world)
        case _:
            await world.post()


async def _report(world: World) -> None:
    """Removed is only what was reported."""
    reports = world.store.reports
    epoch = await world.store.fleet.register("test/reporter.0", "n", "reporter")
    (call,) = await reports.claim_tenants(epoch, limit=5, ttl=60, interval=300, fallback=False)
    events = [report.event_id for report in await reports.pending(call.tenant_pk, 10)]
    assert await reports.acknowledge(call.tenant_pk, epoch, events) == 1


async def _die_at(name: str, when: str, world: World, environ: dict[str, str]) -> None:
    process = PROCESSES.Process(target=cut.run, args=(name, when, world.tenant, world.account, environ))
    process.start()
    await asyncio.to_thread(process.join, 30.0)
    assert process.exitcode == -signal.SIGKILL


async def _row(world: World, *, unless: State | None) -> State | None:
    """PostgreSQL may take a moment to notice that its client is gone."""
    found = None
    for _ in range(100):
        found = (await world.states()).get(cut.ID)
        if found is unless:
            break
        await asyncio.sleep(0.02)
    return found
