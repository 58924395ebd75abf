"""Claims that begin at a watermark pass over what an old snapshot keeps, and nothing that is to be sent for long."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass, field
from math import inf
from typing import Any

import psycopg
import pytest

from loadtests.fill import Filler, Shape
from mailproxy.config import Settings
from mailproxy.errors import StorageUnavailable
from mailproxy.looks import FROM_START, Bounds, Look
from mailproxy.model import AccountCondition, AccountPk, Priority
from mailproxy.records import Claim, DueAccount
from sql import looks, queries
from sql.queue import SqlQueue
from sql.store import SqlStore
from tests.sql.conftest import NODE, Sender, World, back
from workers.lookout import Lookout
from workers.sender.claims import Claims

ALWAYS = -1.0  # no look is as quick as that, so claims begin at the watermark however small the queue is
BUSY = 1000
LONG_AGO = 3600.0

Way = AsyncIterator[None]


async def dated_back(world: World, _sender: Sender, due: float) -> Way:
    """As what is enqueued by a transaction that takes long to commit."""
    yield
    await world.post("dated_back", due_at=due)


async def resumed(world: World, _sender: Sender, due: float) -> Way:
    await world.post("resumed", due_at=due, batch_code="b")
    await world.store.directory.suspend(world.tenant, "b")
    yield
    await world.store.directory.activate(world.tenant, "b")


async def replaced(world: World, _sender: Sender, due: float) -> Way:
    await world.post("replaced", due_at=due + 2 * LONG_AGO)
    yield
    await world.post("replaced", due_at=due)


async def made_urgent(world: World, _sender: Sender, due: float) -> Way:
    await world.post("made_urgent", due_at=due, priority=Priority.LOW)
    yield
    await world.post("made_urgent", due_at=due)


async def moved(world: World, _sender: Sender, due: float) -> Way:
    await world.post("moved", due_at=due, account_pk=await world.add_account("other"))
    yield
    await world.post("moved", due_at=due)


async def released(world: World, _sender: Sender, due: float) -> Way:
    await world.post("released", due_at=due)
    other = await world.sender("released", slot=1)
    (message,) = await other.claim(1)
    yield
    await other.settle(back(message))


async def unclaimed(world: World, _sender: Sender, due: float) -> Way:
    await world.post("unclaimed", due_at=due)
    other = await world.sender("unclaimed", slot=2)
    assert len(await other.claim(1)) == 1
    yield
    await world.store.queue.unclaim(world.account, other.epoch, [])


async def recovered(world: World, sender: Sender, due: float) -> Way:
    await world.post("recovered", due_at=due)
    other = await world.sender("recovered", slot=3)
    assert len(await other.claim(1)) == 1
    yield
    await other.lose_lease()
    assert (await sender.recover()).freed == 1


async def rested(world: World, _sender: Sender, due: float) -> Way:
    yield
    trouble = AccountCondition.BREAKER_OPEN
    await world.store.queue.back_off(world.account, condition=trouble, reason="", cause="", delay=9.0)
    await world.post("rested", due_at=due)
    await world.store.directory.reset_account(world.tenant, "main")


WAYS: tuple[Callable[[World, Sender, float], Way], ...] = (
    released,
    unclaimed,
    recovered,
    dated_back,
    resumed,
    replaced,
    made_urgent,
    moved,
    rested,
)


@pytest.mark.parametrize("batch", [1, 2 * BUSY], ids=["busy", "idle"])
async def test_whatever_gets_before_the_watermark_is_claimed_all_the_same(world: World, batch: int) -> None:
    """Whether claims are always full, or take all there is."""
    sender = await world.sender()
    now = time.time()
    ways = [way(world, sender, now - LONG_AGO - number) for number, way in enumerate(WAYS)]
    for way in ways:
        await anext(way)
    busy = [f"m{number:04d}" for number in range(BUSY)]
    rows = [world.message(id_, due_at=now - 600.0 + number / 10) for number, id_ in enumerate(busy)]
    await world.store.queue.enqueue({world.tenant: rows})
    claims = Claims(world.store.queue, world.account, 0, sender.epoch, lambda: None, quick=ALWAYS)
    claimed = [message.client_id for message in (await claims.next(1)).messages]
    for way in ways:
        assert await anext(way, "done") == "done"
    missing = {way.__name__ for way in WAYS}
    try:
        async with asyncio.timeout(20):
            while missing:
                found = [message.client_id for message in (await claims.next(batch)).messages]
                missing -= set(found)
                claimed += found
    finally:
        await claims.stop()
    in_order = [id_ for id_ in claimed if id_ in set(busy)]
    assert in_order == busy[: len(in_order)]


@dataclass(frozen=True)
class Noting:
    """The store's queue, and where it was asked to claim from; its looks from the start take too long."""

    queue: SqlQueue
    asked: list[Bounds] = field(default_factory=list)
    refused: asyncio.Event = field(default_factory=asyncio.Event)

    async def claim(self, account: AccountPk, slot: int, *, since: Bounds, **more: Any) -> Claim:
        self.asked.append(since)
        return await self.queue.claim(account, slot, since=since, **more)

    async def look(self, account: AccountPk) -> Look:
        self.refused.set()
        raise StorageUnavailable("It took too long")


@pytest.mark.parametrize("quick", [ALWAYS, inf], ids=["slow", "quick"])
async def test_claims_begin_at_the_watermark_only_where_a_look_from_the_start_takes_long(
    quick: float, world: World
) -> None:
    sender = await world.sender()
    due = time.time() - 600.0
    for number in range(3):
        await world.post(f"m{number}", due_at=due + number)
    queue: Any = Noting(world.store.queue)
    claims = Claims(queue, world.account, 0, sender.epoch, lambda: None, quick=quick)
    for _ in range(2):
        assert len((await claims.next(1)).messages) == 1
    claims.given_back(1)
    await claims.next(1)
    await claims.stop()
    first, second, third = queue.asked
    assert first == third == FROM_START
    assert (second[Priority.MEDIUM] == pytest.approx(due + 1)) == (quick == ALWAYS)


async def test_claims_stay_at_the_watermark_when_a_look_from_the_start_fails(world: World) -> None:
    sender = await world.sender()
    await world.post("a", "b", "c", due_at=time.time() - 600.0)
    noting = Noting(world.store.queue)
    queue: Any = noting
    claims = Claims(queue, world.account, 0, sender.epoch, lambda: None, quick=ALWAYS)
    try:
        assert len((await claims.next(1)).messages) == 1
        async with asyncio.timeout(20):
            await noting.refused.wait()
        assert len((await claims.next(1)).messages) == 1
    finally:
        await claims.stop()
    assert noting.asked[1] != FROM_START


async def test_a_claim_keeps_to_its_bounds_and_to_the_order(world: World) -> None:
    now = time.time()
    for number, priority in enumerate((Priority.LOW, Priority.MEDIUM, Priority.IMMEDIATE)):
        for age in (300.0, 100.0, 200.0):
            await world.post(f"{priority.name}{age:.0f}", due_at=now - age - number, priority=priority)
    sender = await world.sender()
    since = (now - 250.0, *FROM_START[1:3], now - 150.0)
    claim = await world.store.queue.claim(world.account, 0, epoch=sender.epoch, limit=5, since=since)
    names = [message.client_id for message in claim.messages]
    assert names == ["IMMEDIATE200", "IMMEDIATE100", "MEDIUM300", "MEDIUM200", "MEDIUM100"]
    assert claim.look is not None
    assert claim.look.first == pytest.approx((inf, inf, inf, now - 100.0))
    left = await world.store.queue.look(world.account)
    assert left.first == pytest.approx((now - 302.0, inf, inf, now - 300.0))
    assert left.wait == pytest.approx(left.first[0] - left.at)


async def test_of_accounts_only_newer_rows_count_and_what_an_ended_lease_left_behind(world: World) -> None:
    now = time.time()
    pks = {name: await world.add_account(name) for name in ("old", "new", "later", "left", "none")}
    for name, due in (
        ("old", now - 100.0),
        ("new", now - 10.0),
        ("later", now + 100.0),
        ("left", now - 100.0),
    ):
        await world.post(name, account_pk=pks[name], due_at=due)
    await (await world.sender("dead", account=pks["left"])).lose_lease()
    for newer_than, wanted in ((inf, {"old", "new", "left"}), (50.0, {"new", "left"})):
        found = await world.store.queue.due_accounts(NODE, 1, newer_than)
        assert {one.account_pk for one in found.accounts} == {pks[name] for name in wanted}
        assert found.next_due_in == pytest.approx(100.0, abs=20.0)


async def test_a_lookout_that_asks_for_newer_rows_knows_of_the_older_ones_all_the_same(world: World) -> None:
    await world.post("a")
    other = await world.add_account("other")
    found = asyncio.Event()
    lookout = Lookout(world.store.queue, NODE, 1, found.set, quick=ALWAYS)
    here, there = DueAccount(world.account, 0), DueAccount(other, 0)
    try:
        assert (await lookout.next(hinted=False)).accounts == (here,)
        await world.post("dated_back", account_pk=other, due_at=time.time() - LONG_AGO)
        async with asyncio.timeout(20):
            await found.wait()
            assert (await lookout.next(hinted=False)).accounts == (here, there)
            await world.store.directory.delete_messages(world.tenant, ["dated_back"])
            while (await lookout.next(hinted=True)).accounts != (here,):
                await asyncio.sleep(0.01)
        third = await world.add_account("third")
        await world.post("c", account_pk=third)
        assert DueAccount(third, 0) in (await lookout.next(hinted=False)).accounts
    finally:
        await lookout.stop()


async def test_a_lookout_looks_from_the_start_when_an_account_has_rested(world: World) -> None:
    await world.post("a", due_at=time.time() - LONG_AGO)
    tired = AccountCondition.BACKING_OFF
    await world.store.queue.back_off(world.account, condition=tired, reason="", cause="", delay=0.2)
    found = asyncio.Event()
    lookout = Lookout(world.store.queue, NODE, 1, found.set, quick=ALWAYS)
    try:
        assert (await lookout.next(hinted=False)).accounts == ()
        async with asyncio.timeout(20):
            while not (await lookout.next(hinted=False)).accounts:
                await asyncio.sleep(0.01)
    finally:
        await lookout.stop()


@pytest.mark.usefixtures("new_database")
@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_beside_an_old_snapshot_a_claim_reads_what_waits_and_not_what_was_sent(
    world: World, store: SqlStore, settings: Settings
) -> None:
    sender = await world.sender()
    shape = Shape("p", world.tenant, [world.account], due_in="i / 100.0 - 100", body="")
    with psycopg.connect(settings.database.url) as reader, closing(Filler(settings.database)) as filler:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM q")
        filler.rows(shape, 3000)
        for change in ("UPDATE q SET epoch = 1, phase = 1", "UPDATE q SET phase = 2", "DELETE FROM q"):
            filler.run(change)
        filler.rows(Shape("r", world.tenant, [world.account], due_in="i / 100.0 - 50", body=""), 100)
        look = await store.queue.look(world.account)
        for query in ("claim", "next_due"):
            whole = _blocks(settings, sender, query, FROM_START)
            assert whole > 3000
            assert _blocks(settings, sender, query, look.first) < min(300, whole / 10)
        whole = _blocks(settings, sender, "due_accounts", FROM_START)
        assert whole > 3000
        assert _blocks(settings, sender, "due_accounts", FROM_START, newer_than=55.0) < 300


def _blocks(settings: Settings, sender: Sender, query: str, since: Bounds, newer_than: float = inf) -> int:
    """How many buffers the statement looks at; what it does is undone."""
    whose: dict[str, Any] = {"account": sender.account, "slot": 0, "epoch": sender.epoch}
    params = whose | {"limit": 10, "at": None, "longest": 1} | looks.since(since)
    params |= {"node": NODE, "slots": 1, "newer_than": newer_than}
    (statement,) = queries.load("postgres")[query].statements
    with psycopg.connect(settings.database.url) as connection:
        explain = b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statement.encode()
        found = connection.execute(explain, params).fetchone()
        connection.rollback()
    assert found is not None
    plan = found[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
