"""Steps through a whole `mail-proxy serve`: rates, latencies, memory and idle time as the queue grows."""

import asyncio
import base64
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import psutil

from loadtests import checks, driver, machine
from loadtests.driver import ACCOUNT, TENANT
from loadtests.farend import arrivals
from loadtests.fill import Filler, Shape
from loadtests.measure import PATIENCE, Stand, stand
from loadtests.scaling import Found, Ground, Judged, Step
from mailproxy.demo.client import Client
from mailproxy.model import Seconds

DIALECTS = ("postgres", "sqlite")
FILL_PATIENCE: Seconds = 300.0
SETTLE: Seconds = 5.0


@asynccontextmanager
async def serving(ground: Ground, dialect: str, name: str) -> AsyncIterator[Stand]:
    server, pid = (ground.server, ground.postmaster) if dialect == "postgres" else (None, None)
    folder = ground.folder / f"{dialect}-{name}"
    async with stand(folder, server, pid, name=f"{name}_{ground.folder.name}") as at:
        yield at


class Backlog:
    """Fills the database that a service is using, for the tenant and account its driver has made."""

    def __init__(self, at: Stand) -> None:
        self.filler = Filler(at.database)
        self._whose = [
            self.filler.run("SELECT pk FROM tenant")[0][0],
            [row[0] for row in self.filler.run("SELECT pk FROM account ORDER BY pk")],
        ]

    async def queue(self, prefix: str, rows: int) -> None:
        await asyncio.to_thread(self.filler.rows, Shape(prefix, *self._whose), rows)
        await asyncio.to_thread(self.filler.analyze)

    async def kept(self, prefix: str, rows: int) -> None:
        await asyncio.to_thread(self.filler.rows, Shape(prefix, *self._whose, is_finished=True), rows)
        await asyncio.to_thread(self.filler.analyze)


async def throughput(ground: Ground) -> Found:
    """The rate of the first 10,000 of a backlog, of which there is no more, and 990,000 more."""
    taken = ground.size(10_000)
    figures, rates = [], {}
    for dialect in DIALECTS:
        depths = [taken, ground.size(100_000), ground.size(1_000_000)]
        for depth in depths:
            async with serving(ground, dialect, f"depth{depth}") as at:
                await at.driver.command("suspend")
                await Backlog(at).queue("b", depth)
                await at.driver.command("activate")
                await at.arrived.reach(taken, FILL_PATIENCE)
                deliveries = arrivals(at.far.log)
                found = [one.id for one in deliveries]
                # Of a longer backlog nobody knows which come first: none of them may come twice.
                checks.arrived_once(driver.ids("b", taken) if depth == taken else found, found)
                moments = sorted(one.at for one in deliveries)[:taken]
                rates[f"{dialect} {depth}"] = (taken - 1) / (moments[-1] - moments[0])
        ratio = rates[f"{dialect} {depths[-1]}"] / rates[f"{dialect} {taken}"]
        figures.append(Judged(f"{dialect}: rate at {depths[-1]:,} queued", 100 * ratio, "%", at_least=90))
    return Found(tuple(figures), {"rates": rates})


async def trickle(ground: Ground) -> Found:
    """1,000 accounts, each with a message now and then: processes, and the time from request to DATA."""
    count, messages = ground.size(1_000), ground.size(3_000)
    async with serving(ground, "postgres", "trickle") as at:
        async with at.service.client() as client:
            for number in range(count):
                account = {"id": f"a{number}", "tenant_id": TENANT, "host": "127.0.0.1", "use_tls": False}
                await client.call("POST", "/account", account | {"port": at.far.smtp_port})
            wanted = driver.ids("t", messages)
            sent, most = {}, 0
            for number, one in enumerate(wanted):
                message = driver.message(one) | {"account_id": f"a{number * 7919 % count}"}
                sent[one] = time.time()
                await client.call(
                    "POST", "/commands/add-messages", {"tenant_id": TENANT, "messages": [message]}
                )
                most = max(most, len(_processes(at))) if number % 50 == 0 else most
                await asyncio.sleep(0.02)
        await at.arrived.reach(messages, PATIENCE)
        deliveries = arrivals(at.far.log)
        checks.arrived_once(wanted, (one.id for one in deliveries))
        waited = [one.data_at - sent[one.id] for one in deliveries]
    return Found(
        (
            Judged("request to DATA, p99", 1000 * driver.percentile(waited, 0.99), "ms", at_most=1000),
            Judged("processes, at most", most, "", at_most=30),
        ),
        {"p50_ms": 1000 * driver.percentile(waited, 0.5)},
    )


async def first_page(ground: Ground) -> Found:
    figures, more = [], {}
    for dialect in DIALECTS:
        async with serving(ground, dialect, "page") as at:
            await Backlog(at).kept("k", ground.size(1_000_000))
            for query, is_judged in (("limit=100", True), ("", False)):
                took = []
                async with at.service.client() as client:
                    for _ in range(30):
                        begun = time.perf_counter()
                        await client.call("GET", f"/messages?tenant_id={TENANT}&{query}")
                        took.append(1000 * (time.perf_counter() - begun))
                middle = driver.percentile(took, 0.5)
                more[f"{dialect} {query or 'limit=1000'}"] = took
                if is_judged:
                    figures.append(Judged(f"{dialect}: first page", middle, "ms", at_most=50))
    return Found(tuple(figures), more)


async def idle(ground: Ground) -> Found:
    """Nothing to do, and 200,000 finished messages kept; then what further senders cost."""
    async with serving(ground, "sqlite", "idle") as at:
        await asyncio.sleep(SETTLE)
        empty = _pss(at)
        await Backlog(at).kept("k", ground.size(200_000))
        before, began = at.usage(), time.monotonic()
        await asyncio.sleep(max(5.0, 120 * min(1.0, ground.share)))
        spent = at.usage().since(before)
        busy = sum(used for role, used in spent.items() if role not in ("sink", "tenant"))
        share = 100 * busy / (time.monotonic() - began)
    return Found(
        (
            Judged("sqlite: PSS, nothing sent yet", empty, "MB", at_most=150),
            Judged("sqlite: idle CPU", share, "% of a core", at_most=1),
        ),
        {"cpu_seconds": spent},
    )


async def senders(ground: Ground) -> Found:
    """What each further sender adds to the whole."""
    further = 6
    async with serving(ground, "sqlite", "senders") as at:
        async with at.service.client() as client:
            account = {"tenant_id": TENANT, "host": "127.0.0.1", "use_tls": False, "port": at.far.smtp_port}
            await _one_message(at, client, ACCOUNT, 1)
            await asyncio.sleep(SETTLE)
            one, first = _pss(at), len(_processes(at))
            for number in range(further):
                await client.call("POST", "/account", account | {"id": f"s{number}"})
                await _one_message(at, client, f"s{number}", number + 2)
            more, last = _pss(at), len(_processes(at))
        added = last - first
    return Found(
        (
            Judged("sqlite: PSS of a further sender", (more - one) / max(1, added), "MB", at_most=12),
            Judged("senders added", added, "", at_least=further),
        )
    )


async def _one_message(at: Stand, client: Client, account: str, arrived: int) -> None:
    message = driver.message(f"s{arrived:06d}") | {"account_id": account}
    await client.call("POST", "/commands/add-messages", {"tenant_id": TENANT, "messages": [message]})
    await at.arrived.reach(arrived, PATIENCE)


async def attachments(ground: Ground) -> Found:
    """20 messages with 25 MB attachments each, posted at once as base64: the peak above the idle service."""
    octets, count = ground.size(25_000_000), 20
    content = base64.b64encode(os.urandom(octets)).decode()
    async with serving(ground, "sqlite", "attachments") as at:
        await asyncio.sleep(SETTLE)
        before = _pss(at)
        posting = asyncio.create_task(_post_large(at, content, count))
        try:
            peak = max(before, await _peak(at, posting, count))
        finally:
            posting.cancel()
        checks.arrived_once(driver.ids("a", count), (one.id for one in arrivals(at.far.log)))
    return Found((Judged("sqlite: PSS above idle", peak - before, "MB", at_most=200),), {"idle_mb": before})


async def _peak(at: Stand, posting: "asyncio.Task[None]", count: int) -> float:
    """The most memory until `count` messages are posted and there; refused when none has come for FILL_PATIENCE."""
    peak, seen, last = 0.0, 0, time.monotonic()
    while not posting.done() or seen < count:
        if posting.done():
            posting.result()
        if (now := at.arrived.look()) > seen:
            seen, last = now, time.monotonic()
        if time.monotonic() > last + FILL_PATIENCE:
            raise checks.FigureRefused(f"{seen} of {count} messages arrived")
        peak = max(peak, _pss(at))
        await asyncio.sleep(0.1)
    posting.result()
    return peak


async def _post_large(at: Stand, content: str, count: int) -> None:
    attachment = {"filename": "scan.bin", "fetch_mode": "base64", "storage_path": content}

    async def post(number: int) -> None:
        message = driver.message(f"a{number:06d}") | {"attachments": [attachment]}
        async with at.service.client() as client:
            await client.call("POST", "/commands/add-messages", {"tenant_id": TENANT, "messages": [message]})

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(post(number))


def _processes(at: Stand) -> list[psutil.Process]:
    root = psutil.Process(at.service.pid)
    return [root, *root.children(recursive=True)]


def _pss(at: Stand) -> float:
    """Of the whole service, in MB."""
    found = machine.memory(machine.usage({"service": at.service.pid}, {}))
    return sum(sum(sizes) for sizes in found.values())


STEPS: Mapping[str, Step] = {
    "throughput": throughput,
    "thousand-accounts": trickle,
    "first-page": first_page,
    "idle": idle,
    "senders": senders,
    "attachments": attachments,
}
