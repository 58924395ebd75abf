"""Steps on the queue itself, below the service: claims, plans and sizes, by the product's own store."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg

from loadtests import driver, plans
from loadtests.fill import Filler, Shape
from loadtests.scaling import Found, Ground, Judged, Step
from mailproxy import config
from mailproxy.config import Database
from mailproxy.model import AccountPk, Epoch, EventDetail, EventType, Priority, Status
from mailproxy.records import AccountWrite, Claimed, Finish, NewMessage, Release, TenantWrite
from sql import migrate
from sql.open import open_store
from sql.store import SqlStore
from workers.housekeeping import SCHEDULE, tidy
from workers.sender.claims import Claims

DIALECTS = ("postgres", "sqlite")
CLAIM = 50
KEY = base64.b64encode(b"k" * 32).decode()


@dataclass(frozen=True, slots=True)
class Bench:
    """An open store with a tenant, an account and a sender that holds it."""

    database: Database
    store: SqlStore
    tenant: int
    account: AccountPk
    epoch: Epoch
    claims: Claims

    async def claim(self) -> tuple[Claimed, ...]:
        """As a sender does."""
        return (await self.claims.next(CLAIM)).messages

    async def give_back(self, claimed: tuple[Claimed, ...]) -> None:
        back = [Release(one.id, one.revision, one.attempt, one.claim, refund=True) for one in claimed]
        await self.store.queue.settle(self.epoch, (), back)

    async def send(self, claimed: tuple[Claimed, ...]) -> None:
        """Intend and finish, as if a server had taken them."""
        await self.store.queue.intend(self.epoch, [one.id for one in claimed])
        detail = EventDetail(attempt=1, code=250)
        await self.store.queue.settle(
            self.epoch,
            [
                Finish(one.id, one.revision, one.attempt, one.claim, Status.SENT, EventType.SENT, detail)
                for one in claimed
            ],
        )


@asynccontextmanager
async def opened(ground: Ground, dialect: str) -> AsyncIterator[Bench]:
    database = ground.database(dialect, f"queue_{dialect}")
    environ = {
        "GMP_STATE_DIR": str(ground.folder / "state"),
        "MAIL_PROXY_ENCRYPTION_KEY": KEY,
        ("GMP_DATABASE_URL" if dialect == "postgres" else "GMP_DB_PATH"): database.url,
    }
    migrate.migrate(database)
    store = await open_store(config.load(environ), role="scale")
    try:
        await store.directory.put_tenant(TenantWrite(id="t"), None, None)
        tenant = await store.directory.tenant("t")
        assert tenant is not None
        account = await store.directory.put_account(
            tenant.pk, AccountWrite(id="a", host="127.0.0.1", port=25)
        )
        epoch = await store.fleet.register("scale", "scale", "sender")
        await store.queue.take_lease(account, 0, epoch=epoch, ttl=7200.0)
        claims = Claims(store.queue, account, 0, epoch, found=lambda: None)
        try:
            yield Bench(database, store, tenant.pk, account, epoch, claims)
        finally:
            await claims.stop()
    finally:
        await store.aclose()


async def hot_plans(ground: Ground) -> Found:
    """Every hot statement explained at 10,000 and 1,000,000 rows, with fresh statistics."""
    figures = []
    more = {}
    for dialect in DIALECTS:
        async with opened(ground, dialect) as bench:
            filler = Filler(bench.database)
            beside = ground.size(10_000)
            for rows in (ground.size(10_000), ground.size(990_000)):
                shape = Shape(f"r{rows}x", bench.tenant, [bench.account], due_in="i % 7200 - 3600", body="")
                filler.rows(shape, rows)
                done = Shape(f"d{rows}x", bench.tenant, [bench.account], is_finished=True, is_reported=False)
                filler.rows(done, min(rows, ground.size(100_000)))
                if rows == beside:
                    filler.certified()
                    filler.contents()
                    filler.suppressed(bench.tenant, rows)
                    filler.tenants(rows // 10)
                    filler.mailboxes(rows // 10)
                filler.analyze()
                found = plans.complaints(bench.database, plans.HOT)
                more[f"{dialect} {rows}"] = found
                figures.append(Judged(f"{dialect}, {rows} rows: plans that scan", len(found), "", at_most=0))
            filler.close()
    return Found(tuple(figures), more)


async def deferred(ground: Ground) -> Found:
    """Claims of what is due behind what is not yet."""
    return await _claims(ground, due_in="3600 + i")


async def _claims(ground: Ground, due_in: str) -> Found:
    figures = []
    for dialect in DIALECTS:
        async with opened(ground, dialect) as bench:
            filler = Filler(bench.database)
            filler.rows(
                Shape("w", bench.tenant, [bench.account], due_in=due_in, body=""), ground.size(200_000)
            )
            filler.rows(Shape("r", bench.tenant, [bench.account], body=""), 1000)
            filler.analyze()
            filler.close()
            figures.append(_p99(f"{dialect}: claim p99", await _timed_claims(bench, 200, bench.give_back)))
    return Found(tuple(figures))


async def _timed_claims(
    bench: Bench, count: int, then: Callable[[tuple[Claimed, ...]], Awaitable[None]]
) -> list[float]:
    seconds = []
    for _ in range(count):
        begun = time.perf_counter()
        claimed = await bench.claim()
        seconds.append(time.perf_counter() - begun)
        await then(claimed)
    return seconds


def _p99(what: str, seconds: list[float]) -> Judged:
    return Judged(what, 1000 * driver.percentile(seconds, 0.99), "ms", at_most=20)


async def old_snapshot(ground: Ground) -> Found:
    """Claims beside a transaction that began before 200,000 updates: rows claimed, intended and finished, in SQL."""
    async with opened(ground, "postgres") as bench:
        with psycopg.connect(bench.database.url) as reader:
            reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            reader.execute("SELECT count(*) FROM q")
            filler = Filler(bench.database)
            filler.rows(Shape("p", bench.tenant, [bench.account], body=""), ground.size(100_000))
            for change in ("UPDATE q SET epoch = 1, phase = 1", "UPDATE q SET phase = 2", "DELETE FROM q"):
                filler.run(change)
            # Older than any margin, as calls date them.
            waiting = Shape("r", bench.tenant, [bench.account], body="", due_in="i / 1000.0 - 60")
            filler.rows(waiting, 210 * CLAIM)
            dead = filler.run("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'q'")[0][0]
            filler.close()
            seconds = await _timed_claims(bench, 200, bench.send)
            bench.claims.given_back(1)
            (from_start,) = await _timed_claims(bench, 1, bench.send)
    more = {
        "dead_rows": dead,
        "median_ms": 1000 * driver.percentile(seconds, 0.5),
        "first_ms": 1000 * seconds[0],
        "from_the_start_ms": 1000 * from_start,
    }
    return Found((_p99("postgres: claim p99", seconds),), more)


async def _pass_through(bench: Bench, messages: int, batch: int = 1000) -> None:
    """Enqueue, claim, intend and finish by the product's statements, without SMTP."""
    for start in range(0, messages, batch):
        payload = '{"id":"x"}'
        new = [
            NewMessage(f"p{number:07d}", bench.account, Priority.MEDIUM, payload)
            for number in range(start, min(start + batch, messages))
        ]
        await bench.store.queue.enqueue({bench.tenant: new})  # type: ignore[dict-item]
        while claimed := await bench.claim():
            await bench.send(claimed)


async def _keep_tidy(bench: Bench) -> None:
    every = next(one.every for one in SCHEDULE if one.chore is tidy)
    while True:
        await asyncio.sleep(every)
        await bench.store.upkeep.tidy()


async def queue_size(ground: Ground) -> Found:
    """The queue table after 1,000,000 messages passed through; a driver in SQL, since SMTP changes nothing of it.
    Maintenance does its part, as in every service."""
    figures = []
    for dialect in DIALECTS:
        async with opened(ground, dialect) as bench:
            keeping = asyncio.create_task(_keep_tidy(bench))
            await _pass_through(bench, ground.size(1_000_000))
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            filler = Filler(bench.database)
            figures.append(Judged(f"{dialect}: table q", filler.size("q") / 1_000_000, "MB", at_most=20))
            filler.close()
    return Found(tuple(figures))


STEPS: Mapping[str, Step] = {
    "plans": hot_plans,
    "claim-behind-deferred": deferred,
    "claim-beside-snapshot": old_snapshot,
    "queue-size": queue_size,
}
