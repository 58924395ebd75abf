"""Housekeeping: what it does on both databases, and that replicas share one schedule."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

import psycopg
import pytest
from procrastinate.schema import SchemaManager

from mailproxy.config import Settings
from mailproxy.model import EventType, Priority, TenantPk
from mailproxy.records import AccountWrite, NewMessage, TenantWrite
from mailproxy.reports import CallSettled
from mailproxy.store import Store
from tests.reporter.conftest import until
from workers.frame import Life
from workers.housekeeping import SCHEDULE, Scheduled, clean_up, expire, forget_dead, in_chunks
from workers.maintenance import cron, entry, keep_house, on_postgres


async def tenant_with(store: Store, *messages: NewMessage) -> TenantPk:
    await store.directory.put_tenant(TenantWrite("acme", client_base_url="http://127.0.0.1:1"), None, None)
    tenant = await store.directory.tenant("acme")
    assert tenant is not None
    await store.queue.enqueue({tenant.pk: messages})
    return tenant.pk


async def test_messages_past_their_age_expire_and_are_reported(store: Store, settings: Settings):
    tenant = await tenant_with(store)
    account = await store.directory.put_account(tenant, AccountWrite("smtp", "127.0.0.1", 25))
    old = NewMessage("old", account, Priority.LOW, "{}", max_age=0.001)
    young = NewMessage("young", account, Priority.LOW, "{}")
    await store.queue.enqueue({tenant: [old, young]})
    expired = 0

    async def one_expired() -> bool:
        nonlocal expired
        expired += await expire(store, settings)
        return expired > 0

    await until(one_expired)
    assert expired == 1
    assert [(r.client_id, r.event_type) for r in await store.reports.pending(tenant, 9)] == [
        ("old", EventType.EXPIRED)
    ]


async def test_only_what_is_reported_and_older_than_the_retention_is_removed(
    store: Store, settings: Settings
):
    rejected = [NewMessage(c, None, Priority.LOW, "{}", rejected="no") for c in ("told", "untold")]
    tenant = await tenant_with(store, *rejected)
    epoch = await store.fleet.register("r", "n", "reporter")
    await store.reports.claim_tenants(epoch, limit=1, ttl=9, interval=9, fallback=False)
    reports = {r.client_id: r.event_id for r in await store.reports.pending(tenant, 9)}
    await store.reports.acknowledge(tenant, epoch, [reports["told"]])
    await store.reports.settle_call(tenant, epoch, CallSettled(fails=0, called=True))
    assert await clean_up(store, settings) == 0
    at_once = settings.model_copy(update={"delivery_report_retention_seconds": 0.0})
    assert await clean_up(store, at_once) == 1
    assert await store.directory.message(tenant, "told") is None
    assert await store.directory.message(tenant, "untold") is not None


async def test_processes_are_not_forgotten_while_they_live(store: Store, settings: Settings):
    epoch = await store.fleet.register("alive", "n", "reporter")
    assert await forget_dead(store, settings) == 0
    assert await store.fleet.beat(epoch)


@pytest.mark.parametrize(
    ("every", "notation"),
    [(1, "* * * * * */1"), (10, "* * * * * */10"), (60, "*/1 * * * *"), (300, "*/5 * * * *")],
)
def test_ticks_have_a_notation(every: int, notation: str):
    assert cron(every) == notation


@pytest.mark.parametrize("every", [7, 90, 2400, 7200])
def test_a_tick_that_would_not_be_regular_is_a_bug(every: int):
    with pytest.raises(ValueError, match="divides"):
        cron(every)


def test_every_scheduled_chore_can_tick():
    assert all(cron(scheduled.every) for scheduled in SCHEDULE)


def test_the_migration_holds_the_schema_that_procrastinate_packages():
    text = files("sql").joinpath("postgres/migrations/0002_procrastinate.sql").read_text()
    assert text.partition("-- ====\n")[2] == SchemaManager.get_schema()


@asynccontextmanager
async def ticking(
    environ: dict[str, str], written: Path, log: Path, *how: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.maintenance.ticking", str(written), *how, env=environ, stderr=stderr
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def ticks(log: Path) -> list[int]:
    lines = [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [line["tick"] for line in lines if line["event"] == "chore_done"]


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_of_two_processes_on_one_postgresql_exactly_one_runs_each_tick(
    environ: dict[str, str], store: Store, tmp_path: Path
):
    written, logs = tmp_path / "written", [tmp_path / "a.log", tmp_path / "b.log"]

    async def both_work() -> bool:
        return len(await store.fleet.processes()) == 2 and len(ticks(logs[0]) + ticks(logs[1])) >= 3

    async with ticking(environ, written, logs[0]) as first, ticking(environ, written, logs[1]) as second:
        await until(both_work)
        first.terminate()
        assert await first.wait() == 0
        alone = len(ticks(logs[1]))
        await until(lambda: len(ticks(logs[1])) >= alone + 2)
        second.terminate()
        assert await second.wait() == 0
    ran = sorted(ticks(logs[0]) + ticks(logs[1]))
    assert ran == list(range(ran[0], ran[0] + len(ran)))
    assert len(written.read_text().splitlines()) == len(ran)


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_a_tick_whose_process_was_killed_leaves_no_job_behind(
    environ: dict[str, str], settings: Settings, tmp_path: Path
):
    written, log = tmp_path / "written", tmp_path / "a.log"
    async with ticking(environ, written, log, "die") as doomed:
        assert await asyncio.wait_for(doomed.wait(), 15) == -signal.SIGKILL
    with psycopg.connect(settings.database.url, autocommit=True) as database:
        doing = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing'"
        assert database.execute(doing).fetchone() == (1,)
        database.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '2 minutes'")
        async with ticking(environ, written, log) as process:
            await until(lambda: len(ticks(log)) >= 1)
            process.terminate()
            assert await process.wait() == 0
        assert database.execute(doing).fetchone() == (0,)
        assert database.execute("SELECT count(*) FROM procrastinate_workers").fetchone() == (0,)


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_a_chore_that_hangs_holds_up_no_other(settings: Settings, store: Store):
    hanging, stopping, ticked = asyncio.Event(), asyncio.Event(), 0

    async def hang(store: Store, settings: Settings) -> int:
        if not hanging.is_set():
            hanging.set()
            await stopping.wait()
        return 0

    async def tick(store: Store, settings: Settings) -> int:
        nonlocal ticked
        ticked += hanging.is_set()
        return 0

    schedule = [Scheduled("hang", 1, hang), Scheduled("tick", 1, tick)]
    epoch = await store.fleet.register("m", "n", "maintenance")
    program = asyncio.create_task(keep_house(store, settings, epoch, schedule, stopping))
    await until(lambda: ticked >= 1)
    stopping.set()
    assert await program is None


async def test_what_is_left_after_a_chores_time_is_for_its_next_tick():
    counts = [3, 3]

    async def chunk() -> int:
        if not counts:
            await asyncio.Event().wait()
        return counts.pop()

    assert await in_chunks(chunk, 3, within=0.2) == 6


async def test_a_deadline_within_a_chore_is_its_own():
    async def chunk() -> int:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await in_chunks(chunk, 3, within=60.0)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_on_sqlite_a_timer_runs_each_tick(environ: dict[str, str], settings: Settings, tmp_path: Path):
    written, log = tmp_path / "written", tmp_path / "a.log"
    async with ticking(environ, written, log) as process:
        await until(lambda: len(ticks(log)) >= 3)
        process.terminate()
        assert await process.wait() == 0
    assert ticks(log) == list(range(ticks(log)[0], ticks(log)[0] + len(ticks(log))))


async def test_the_program_registers_and_leaves(settings: Settings, store: Store):
    life = Life(settings, role="maintenance", number=0, owner="maintenance-of-the-test")
    program = asyncio.create_task(entry(life))

    async def registered() -> bool:
        return [(p.owner, p.role) for p in await store.fleet.processes()] == [(life.owner, "maintenance")]

    await until(registered)
    life.stop(5.0)
    assert await asyncio.wait_for(program, 15) is None
    assert await store.fleet.processes() == []


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_a_stop_while_it_connects_leaves_nothing_running(settings: Settings, store: Store):
    others = asyncio.all_tasks()
    for turns in range(1, 8):
        program = asyncio.create_task(on_postgres(store, settings, SCHEDULE))
        for _ in range(turns):
            await asyncio.sleep(0)
        while not program.done():
            program.cancel()  # as keep_house does it: the pool may swallow one while it opens
            await asyncio.wait({program}, timeout=10)
        assert asyncio.all_tasks() == others


async def test_a_process_declared_dead_ends_to_be_started_anew(settings: Settings, store: Store):
    quick = settings.model_copy(update={"lease_seconds": 0.3})
    program = asyncio.create_task(entry(Life(quick, role="maintenance", number=0, owner="m")))

    async def removed() -> bool:
        for process in await store.fleet.processes():
            await store.fleet.leave(process.epoch)
        return program.done()

    await until(removed)
    assert await program == 75
