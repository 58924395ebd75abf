"""Runs the housekeeping: with SQLite on a timer, on PostgreSQL as periodic tasks that all nodes share.

procrastinate enters each tick once whoever comes first, and one process takes it: no leader of our own.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mailproxy import log
from mailproxy.config import Settings
from mailproxy.errors import StorageUnavailable
from mailproxy.keyfile import node_id
from mailproxy.model import Epoch, Seconds
from mailproxy.store import Store
from sql.open import open_store
from workers.frame import TRY_AGAIN, Life
from workers.housekeeping import SCHEDULE, Scheduled

if TYPE_CHECKING:
    from procrastinate import App

QUEUE = "housekeeping"
STALLED_AFTER: Seconds = 60.0
AT_ONCE = 2  # a chore that waits for somebody's storage keeps the others from nothing
SHORT_DRAIN: Seconds = (
    5.0  # a chore is a chain of small transactions: cut off anywhere, it goes on at the next tick
)

_log = log.get(__name__)


async def entry(life: Life) -> int | None:
    """The program of a maintenance process."""
    settings = life.settings
    store = await open_store(settings, role="maintenance")
    try:
        epoch = await store.fleet.register(life.owner, node_id(settings), "maintenance")
        life.ready()
        ended = await keep_house(store, settings, epoch, SCHEDULE, life.stopping)
        await store.fleet.leave(epoch)
        return ended
    finally:
        await store.aclose()


async def keep_house(
    store: Store, settings: Settings, epoch: Epoch, schedule: Sequence[Scheduled], stopping: asyncio.Event
) -> int | None:
    """Run the schedule until `stopping`; TRY_AGAIN when declared dead or cut off from the database."""
    driver = on_postgres if settings.database.kind == "postgres" else on_timer
    parts = {
        asyncio.create_task(driver(store, settings, schedule)),
        asyncio.create_task(_beat(store, epoch, settings.lease_seconds / 3)),
    }
    stop = asyncio.create_task(stopping.wait())
    done, _ = await asyncio.wait({*parts, stop}, return_when=asyncio.FIRST_COMPLETED)
    await _end({*parts, stop} - done)
    for part in done - {stop}:
        part.result()
    return None if stopping.is_set() else TRY_AGAIN


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel until it is heard: on Python 3.11 a `wait_for` that is just done swallows a cancellation, and the
    pool waits with it while it opens."""
    while tasks:
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=2 * SHORT_DRAIN)


async def on_timer(store: Store, settings: Settings, schedule: Sequence[Scheduled]) -> None:
    """Every chore at the multiples of its tick, in this process alone."""
    async with asyncio.TaskGroup() as group:
        for scheduled in schedule:
            group.create_task(_tick(store, settings, scheduled))


async def _tick(store: Store, settings: Settings, scheduled: Scheduled) -> None:
    while True:
        now = time.time()
        tick = int(now // scheduled.every + 1) * scheduled.every
        await asyncio.sleep(tick - now)
        await _run(store, settings, scheduled, tick)


async def on_postgres(store: Store, settings: Settings, schedule: Sequence[Scheduled]) -> None:
    """Every tick once over all processes that share the database; returns when it is cut off from it."""
    # Here, because only this process needs it, and only with PostgreSQL.
    from procrastinate import App, PsycopgConnector  # noqa: PLC0415
    from procrastinate.exceptions import ConnectorException  # noqa: PLC0415

    connector = PsycopgConnector(
        conninfo=settings.database.url,
        kwargs={
            "prepare_threshold": None,
            "application_name": "mailproxy housekeeping",
            "connect_timeout": 5,
        },
        min_size=1,
        max_size=2,
        timeout=5.0,
    )
    app = App(connector=connector, periodic_defaults={"max_delay": 60.0})
    for scheduled in schedule:
        _enter(app, scheduled, store, settings)
    with suppress(ConnectorException):
        try:
            await app.open_async()
            _hear_a_stop()
            await _drop_stalled(app)
            await app.run_worker_async(
                queues=[QUEUE],
                name="maintenance",
                concurrency=AT_ONCE,
                listen_notify=False,
                install_signal_handlers=False,
                delete_jobs="always",
                fetch_job_polling_interval=min(s.every for s in schedule) / 4,
                shutdown_graceful_timeout=SHORT_DRAIN,
            )
        finally:
            # Also when a stop comes while it opens: what the pool had begun would keep the process from ending.
            await app.close_async()


def _hear_a_stop() -> None:
    """Python 3.11's `wait_for`, with which the pool waits while it opens, may swallow a cancellation."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _enter(app: "App", scheduled: Scheduled, store: Store, settings: Settings) -> None:
    @app.periodic(cron=cron(scheduled.every))
    @app.task(name=f"housekeeping.{scheduled.name}", queue=QUEUE, queueing_lock=scheduled.name)
    async def run(timestamp: int) -> None:
        await _run(store, settings, scheduled, timestamp)


def cron(every: int) -> str:
    """The tick in procrastinate's notation, whose sixth column is seconds."""
    if 60 % every == 0 and every < 60:
        return f"* * * * * */{every}"
    minutes, rest = divmod(every, 60)
    if rest or minutes == 0 or 60 % minutes:
        raise ValueError(
            f"{every} s neither divides a minute nor is a number of minutes that divides an hour"
        )
    return f"*/{minutes} * * * *"


async def _drop_stalled(app: "App") -> None:
    """A tick whose process was killed stays behind as a row nobody works on; the next tick makes up for it."""
    from procrastinate.exceptions import ConnectorException  # noqa: PLC0415
    from procrastinate.jobs import Status  # noqa: PLC0415

    stalled = await app.job_manager.get_stalled_jobs(queue=QUEUE, seconds_since_heartbeat=STALLED_AFTER)
    for job in stalled:
        with suppress(ConnectorException):
            await app.job_manager.finish_job(job, Status.FAILED, delete_job=True)


async def _run(store: Store, settings: Settings, scheduled: Scheduled, tick: int) -> None:
    started = time.monotonic()
    try:
        count = await scheduled.chore(store, settings)
    except StorageUnavailable as error:
        _log.warning("chore_put_off", chore=scheduled.name, tick=tick, error=str(error))
        return
    seconds = round(time.monotonic() - started, 3)
    tell = _log.info if count else _log.debug
    tell("chore_done", chore=scheduled.name, tick=tick, count=count, seconds=seconds)


async def _beat(store: Store, epoch: Epoch, every: Seconds) -> None:
    """Returns when this process has been declared dead."""
    while True:
        with suppress(StorageUnavailable):
            if not await store.fleet.beat(epoch):
                _log.error("declared_dead", epoch=epoch)
                return
        await asyncio.sleep(every)
