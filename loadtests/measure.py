"""The measurements on one database: the product through its front door, the limit program beside it."""

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtests import checks, driver, machine
from loadtests.driver import Driver
from loadtests.farend import PROBE_EVERY, arrivals, phases_of
from loadtests.stand import FarEnd, Lines, Program, drop_database, far_end, fresh_database, program
from mailproxy.config import Database
from mailproxy.demo.service import Service

PATIENCE = 20.0
POSTERS = 4
SINGLES = 16


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is sent; all loops are bounded by these."""

    messages: int = 10_000
    rounds: int = 3
    singles: int = 2_000
    idle: int = 150
    idle_pause: float = 0.12

    @classmethod
    def quick(cls) -> "Sizes":
        return cls(messages=2_000, rounds=1, singles=500, idle=40)


@dataclass(slots=True)
class Stand:
    """The service on one database with its far end, and how far their logs have been used."""

    database: Database
    service: Service
    far: FarEnd
    driver: Driver
    look: checks.Look
    postmaster: int | None
    used: int = 0
    reports: Lines = field(init=False)
    arrived: Lines = field(init=False)

    def __post_init__(self) -> None:
        self.reports = Lines(self.far.reports)
        self.arrived = Lines(self.far.log)

    def usage(self) -> machine.Usage:
        named = {
            event["pid"]: event["role"] for event in self.service.events() if event.get("event") == "started"
        }
        roots = {"supervisor": self.service.pid, "sink": self.far.sink.pid, "tenant": self.far.tenant.pid}
        return machine.usage(roots | ({"postgres": self.postmaster} if self.postmaster else {}), named)


@asynccontextmanager
async def stand(
    folder: Path, server: str | None, postmaster: int | None, *, name: str = "product"
) -> AsyncIterator[Stand]:
    folder.mkdir()
    database = fresh_database(server, folder, name)
    settings = {"GMP_DB_PATH": database.url} if server is None else {}
    settings["GMP_SENDER_CONNECTIONS"] = str(driver.CONNECTIONS)
    async with far_end(folder / "far", database) as far:
        service = Service(folder, database_url=None if server is None else database.url, settings=settings)
        async with service:
            posts = Driver(service)
            await posts.set_up(far.smtp_port, far.tenant_url)
            yield Stand(database, service, far, posts, checks.looker(database), postmaster)


async def product(at: Stand, sizes: Sizes, prefix: str, *, limited: bool = False) -> dict[str, Any]:
    """One round end to end: batches of 100 posted, until the sink has everything, then until all is reported."""
    await at.driver.limit(limited)
    wanted = driver.ids(prefix, sizes.messages)
    durable = checks.durability(at.database, at.look)
    fsyncs = checks.wal_fsyncs(at.database, at.look)
    phases = len(phases_of(at.far.log).read_text().splitlines())
    before, own, others = at.usage(), time.process_time(), machine.busy_seconds()
    posted = await at.driver.post(wanted, batch=100, connections=POSTERS)
    await at.arrived.reach(at.used + len(wanted), PATIENCE)
    own, spent = time.process_time() - own, at.usage().since(before)
    memory = machine.memory(at.usage())
    others = machine.busy_seconds() - others - own - sum(spent.values())
    deliveries = arrivals(at.far.log, at.used)
    at.used += len(deliveries)
    seconds = max(one.at for one in deliveries) - posted.started
    reported = await _reported(at, wanted) - posted.started
    checks.arrived_once(wanted, (one.id for one in deliveries))
    checks.events_recorded(at.look, prefix, len(wanted))
    if limited:
        checks.limits_counted(at.look, len(wanted))
    sampled = checks.intents_preceded(phases_of(at.far.log), phases, len(wanted), PROBE_EVERY)
    after = checks.wal_fsyncs(at.database, at.look)
    return {
        "rate": len(wanted) / seconds,
        "accepted_rate": len(wanted) / (posted.ended - posted.started),
        "reported_rate": len(wanted) / reported,
        "cpu_ms_per_message": {
            role: 1000 * used / len(wanted) for role, used in sorted((spent | {"driver": own}).items())
        },
        "cores_busy": (sum(spent.values()) + own) / seconds,
        "cores_busy_with_others": max(0.0, others) / seconds,
        "pss_mb": memory,
        "proof": {
            "durability": durable,
            "intents_seen_before_dot": sampled,
            "wal_fsyncs": None if after is None or fsyncs is None else after - fsyncs,
            "events": len(wanted),
            "reported": len(wanted),
        },
    }


async def _reported(at: Stand, wanted: list[str]) -> float:
    """When the tenant's log had a report of each; the outbox is empty soon afterwards."""
    missing = set(wanted)
    deadline = time.monotonic() + PATIENCE
    seen = 0
    last = 0.0
    while missing:
        if time.monotonic() > deadline:
            raise checks.FigureRefused(f"{len(missing)} messages were not reported")
        await asyncio.sleep(0.05)
        lines = at.far.reports.read_bytes().split(b"\n")[:-1]
        for line in lines[seen:]:
            call = json.loads(line)
            missing -= {
                item["id"] for item in call["body"]["delivery_report"] if item["event_type"] == "sent"
            }
            last = call["t"]
        seen = len(lines)
    while not checks.outbox_is_empty(at.look):
        if time.monotonic() > deadline:
            raise checks.FigureRefused("the outbox was not emptied")
        await asyncio.sleep(0.05)
    return last


async def queueing(at: Stand, sizes: Sizes) -> dict[str, float]:
    """Acceptance alone, the scheduler suspended; then it all has to arrive, or the acceptance was a lie."""
    batched, single = driver.ids("qb", sizes.messages), driver.ids("qs", sizes.singles)
    await at.driver.command("suspend")
    by_batch = await at.driver.post(batched, batch=100, connections=POSTERS)
    by_one = await at.driver.post(single, batch=1, connections=SINGLES)
    began = time.time()
    await at.driver.command("activate")
    await at.arrived.reach(at.used + len(batched) + len(single), PATIENCE)
    deliveries = arrivals(at.far.log, at.used)
    at.used += len(deliveries)
    checks.arrived_once([*batched, *single], (one.id for one in deliveries))
    await _reported(at, [*batched, *single])
    return {
        "batch_rate": len(batched) / (by_batch.ended - by_batch.started),
        "single_rate": len(single) / (by_one.ended - by_one.started),
        "backlog_rate": len(deliveries) / (max(one.at for one in deliveries) - began),
    }


async def latency(at: Stand, sizes: Sizes) -> dict[str, Any]:
    """Of single messages on an idle instance whose sender lives: to the answer, and to the sink's DATA."""
    wanted = driver.ids("idle", sizes.idle)
    sent = await at.driver.post_one_by_one(wanted, sizes.idle_pause)
    await at.arrived.reach(at.used + len(wanted), PATIENCE)
    data = {one.id: one.data_at for one in arrivals(at.far.log, at.used)}
    at.used += len(data)
    answers = [seconds for _, seconds in sent.values()]
    to_data = [data[one] - begun for one, (begun, _) in sent.items()]
    return {
        "request_p50_ms": 1000 * driver.percentile(answers, 0.5),
        "request_p99_ms": 1000 * driver.percentile(answers, 0.99),
        "data_p50_ms": 1000 * driver.percentile(to_data, 0.5),
        "data_p99_ms": 1000 * driver.percentile(to_data, 0.99),
        "request_percentiles_ms": _percentiles(answers),
        "data_percentiles_ms": _percentiles(to_data),
    }


def _percentiles(seconds: list[float]) -> dict[str, float]:
    return {
        str(share): 1000 * driver.percentile(seconds, share / 100) for share in (10, 25, 50, 75, 90, 95, 99)
    }


async def limit(folder: Path, server: str | None, sizes: Sizes, number: int) -> dict[str, float]:
    """One round of the limit program, in a database and with a sink log of its own. The database goes with it: else
    the server tidies it up during the product's next round."""
    folder = folder / f"limit{number}"
    folder.mkdir()
    try:
        return await limit_on(fresh_database(server, folder, f"limit{number}"), folder, sizes.messages)
    finally:
        drop_database(server, f"limit{number}")


async def limit_on(database: Database, folder: Path, messages: int) -> dict[str, float]:
    async with (
        far_end(folder / "far", None) as far,
        program("loadtests.limit", "send", database.url, far.smtp_port) as sender,
        program("loadtests.limit", "enqueue", database.url, *sender.first.split(), "l", messages) as load,
    ):
        started = await _start(load)
        await Lines(far.log).reach(messages, PATIENCE)
        deliveries = arrivals(far.log)
        checks.arrived_once(driver.ids("l", messages), (one.id for one in deliveries))
        await _finished(database, messages)
        return {"rate": messages / (max(one.at for one in deliveries) - started)}


async def _start(load: Program) -> float:
    assert load.process.stdin is not None
    assert load.process.stdout is not None
    load.process.stdin.write(b"go\n")
    return float(await load.process.stdout.readline())


async def _finished(database: Database, messages: int) -> None:
    with checks.looking(database) as look:
        deadline = time.monotonic() + PATIENCE
        while look("SELECT count(*) FROM event WHERE kind = 'sent'")[0][0] != messages:
            if time.monotonic() > deadline:
                raise checks.FigureRefused("the limit program did not finish its rows")
            await asyncio.sleep(0.05)


async def one_database(
    folder: Path, server: str | None, postmaster: int | None, sizes: Sizes
) -> dict[str, Any]:
    """All figures of one database; product and limit program take turns."""
    async with stand(folder, server, postmaster) as at:
        await product(at, Sizes(messages=500), "warm")
        rounds, limits = [], []
        for number in range(sizes.rounds):
            rounds.append(await product(at, sizes, f"r{number}x"))
            limits.append(await limit(folder, server, sizes, number))
        limited = await product(at, sizes, "limited", limited=True)
        await at.driver.limit(False)
        return {
            "product": _median(rounds),
            "limit": _median(limits),
            "rate_limited": limited,
            "queueing": await queueing(at, sizes),
            "latency": await latency(at, sizes),
            "rounds": {"product": [one["rate"] for one in rounds], "limit": [one["rate"] for one in limits]},
        }


def _median(rounds: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The round of the middle rate, whole: its figures belong together."""
    middle = statistics.median_low([one["rate"] for one in rounds])
    return next(one for one in rounds if one["rate"] == middle)
