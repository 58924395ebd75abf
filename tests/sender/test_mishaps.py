"""Lost answers, stopped siblings, stale journals: what a sender must not conclude from them."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mailproxy.config import Settings
from mailproxy.errors import CommitUnknown
from mailproxy.keyfile import node_id
from mailproxy.model import AccountCondition, Epoch, MessageId, OnUnknownOutcome, State
from mailproxy.outcome import Deferred, Outcome, Reply, Sent, Stage, Unknown, Withheld
from mailproxy.records import AccountWrite, Claimed, Release
from sql.open import open_store
from sql.store import SqlStore
from tests.sender.world import World, make_world
from tests.support.smtp import Sink
from workers.control import AccountSlot
from workers.frame import Life
from workers.sender import loop
from workers.sender.journal import Journal, Record

HOLD = OnUnknownOutcome.HOLD
OK = Sent(Reply(250, "ok"))


class AnswerLost:
    """A queue whose first call of one verb commits, and whose answer is lost."""

    def __init__(self, real: Any, verb: str) -> None:
        self._real, self._verb, self.lost = real, verb, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        return self._once(found) if name == self._verb and not self.lost else found

    def _once(self, found: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **named: Any) -> Any:
            await found(*args, **named)
            self.lost += 1
            raise CommitUnknown("the connection was lost during COMMIT")

        return call


@asynccontextmanager
async def sender(
    world: World, *more: AccountSlot, loses: str | None = None, **settings: object
) -> AsyncIterator[asyncio.Task[int | None]]:
    queues: list[AnswerLost] = []

    async def opening(given: Settings, *, role: str) -> SqlStore:
        opened = await open_store(given, role=role)
        if loses is None:
            return opened
        queues.append(AnswerLost(opened.queue, loses))
        return replace(opened, queue=queues[0])  # type: ignore[arg-type]

    life = Life(
        settings=world.settings.model_copy(update=settings),
        role="sender",
        number=1,
        owner=f"test/mishap.{os.urandom(4).hex()}",
        assigned=((world.account, 0), *more),
    )
    task = asyncio.create_task(loop.entry(life, opening=opening))
    try:
        yield task
    finally:
        life.stop(5.0)
        await task
    assert all(queue.lost for queue in queues), "no answer was lost"


async def claimed_by_another(world: World, *, ttl: float = 0.5) -> tuple[Epoch, Claimed]:
    """Another sender of this node has claimed the message and is authorised to send its dot."""
    epoch = await world.store.fleet.register(
        f"test/other.{os.urandom(4).hex()}", node_id(world.settings), "sender"
    )
    assert await world.store.queue.take_lease(world.account, 0, epoch=epoch, ttl=ttl)
    return epoch, await authorised(world, epoch)


async def authorised(world: World, epoch: Epoch) -> Claimed:
    (message,) = (await world.store.queue.claim(world.account, 0, epoch=epoch, limit=10)).messages
    assert await world.store.queue.intend(epoch, [message.id]) == {message.id}
    return message


async def journals(world: World) -> Path:
    return world.settings.state_dir / "journal" / f"{await world.store.fleet.instance():015x}"


def record(message: Claimed, outcome: Outcome) -> Record:
    return Record(message.id, message.revision, message.attempt, message.claim, outcome)


@pytest.mark.parametrize("verb", ["claim", "take_lease", "intend", "settle"])
async def test_an_answer_lost_after_its_commit_loses_no_message(
    verb: str, store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, on_unknown_outcome=HOLD)
        await world.post(n=5)
        async with sender(world, loses=verb):
            await world.all_in(State.SENT)
        assert len(sink.messages()) == 5


async def test_a_lease_ends_but_stays_where_claimed_rows_are_left(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port)
        await world.post(n=2)
        epoch = await store.fleet.register("test/hasty", "elsewhere", "sender")
        await store.queue.take_lease(world.account, 0, epoch=epoch, ttl=60)
        await store.queue.claim(world.account, 0, epoch=epoch, limit=10)
        await store.queue.release_leases(epoch, (world.account, 0))
        due = await store.queue.due_accounts(node_id(settings), 1)
        assert [one.account_pk for one in due.accounts] == [world.account]
        async with sender(world):
            await world.all_in(State.SENT)


async def test_rows_of_a_slot_that_nobody_takes_any_more_are_sent_by_a_sender_that_is_up(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port)
        await world.post(n=2)
        epoch = await store.fleet.register("test/former", "elsewhere", "sender")
        await store.queue.take_lease(world.account, 1, epoch=epoch, ttl=2.0)
        await store.queue.claim(world.account, 1, epoch=epoch, limit=10)
        async with sender(world, idle_seconds=60.0):
            await world.all_in(State.SENT)
            async with asyncio.timeout(20):
                while (await store.queue.due_accounts("elsewhere", 1)).accounts:
                    await asyncio.sleep(0.05)


async def test_a_journal_of_another_database_is_not_believed(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port)
        foreign = Journal.open(settings.state_dir / "journal" / f"{42:015x}", Epoch(4711))
        for n in range(1, 4):
            foreign.record(Record(MessageId(n), 0, 1, 1, OK))
        foreign.close(remove=False)
        ids = await world.post(n=3)
        async with sender(world):
            await world.all_in(State.SENT)
        assert sorted(m.id or "" for m in sink.messages()) == ids


@pytest.mark.parametrize(
    "earlier",
    [Withheld("the rate slot has passed"), Deferred(Stage.DOT, "451", Reply(451, "later"))],
    ids=str,
)
async def test_a_line_of_an_earlier_attempt_does_not_speak_for_a_later_one(
    earlier: Outcome, store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, on_unknown_outcome=HOLD)
        await world.post()
        epoch, first = await claimed_by_another(world)
        journal = Journal.open(await journals(world), epoch)
        journal.record(record(first, earlier))
        await store.queue.settle(
            epoch, [], [Release(first.id, first.revision, first.attempt, first.claim, refund=True)]
        )
        second = await authorised(world, epoch)
        journal.record(record(second, Unknown("the dot may have been sent")))
        journal.close(remove=False)
        async with sender(world):
            await world.all_in(State.UNKNOWN)
        assert sink.messages() == []


async def test_what_a_stopped_siblings_journal_proves_is_not_sent_again(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, retry_delays=(0.1,))
        (id_,) = await world.post()
        epoch, message = await claimed_by_another(world)
        journal = Journal.open(await journals(world), epoch)
        journal.record(record(message, OK))
        try:
            async with sender(world):
                await world.all_in(State.SENT)
        finally:
            journal.close(remove=False)
        assert sink.messages() == []
        assert [str(event.event_type) for event in await world.events(id_)] == ["sent"]


async def test_a_release_told_twice_frees_no_later_claim(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port)
        await world.post()
        epoch, first = await claimed_by_another(world, ttl=60)
        release = Release(first.id, first.revision, first.attempt, first.claim, refund=True)
        await store.queue.settle(epoch, [], [release])
        second = await authorised(world, epoch)
        assert (await store.queue.settle(epoch, [], [release])).settled == frozenset()
        assert (await store.queue.claim(world.account, 0, epoch=epoch, limit=10)).messages == ()
        assert second.attempt == first.attempt


async def test_a_bug_in_the_intent_ends_the_process_instead_of_spinning(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async def intend(*_: object, **__: object) -> frozenset[MessageId]:
        raise RuntimeError("a bug")

    async def opening(given: Settings, *, role: str) -> SqlStore:
        opened = await open_store(given, role=role)
        queue = AnswerLost(opened.queue, "none")
        queue.intend = intend  # type: ignore[attr-defined]
        return replace(opened, queue=queue)  # type: ignore[arg-type]

    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port)
        await world.post(n=20)
        short = settings.model_copy(update={"lease_seconds": 1.5})
        life = Life(short, "sender", 1, "test/buggy", assigned=((world.account, 0),))
        async with asyncio.timeout(20):
            assert await loop.entry(life, opening=opening) == 75
        assert sink.messages() == []
        async with sender(world):
            await world.all_in(State.SENT)


async def test_an_idle_slot_gives_back_its_own_lease_only(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, on_unknown_outcome=HOLD)
        await world.post("slow1500@example.com")
        async with sender(world, (world.account, 1), idle_seconds=0.2, lease_seconds=3.0) as task:
            await world.all_in(State.SENT)
            async with asyncio.timeout(15):
                assert await asyncio.shield(task) is None
        assert len(sink.messages()) == 1


async def test_a_secret_that_cannot_be_opened_stops_its_own_account_only(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port)
        write = AccountWrite(id="sealed", host="127.0.0.1", port=sink.port, user="u", password="p")
        sealed = await store.directory.put_account(world.tenant, write)
        await _break_secret(store, settings, sealed)
        await world.post(n=10)
        async with sender(world, (sealed, 0)):
            await world.all_in(State.SENT)
            gauges = {g.account_id: g.condition for g in await store.fleet.account_gauges()}
        assert gauges == {"main": AccountCondition.OK, "sealed": AccountCondition.BREAKER_OPEN}


async def _break_secret(store: SqlStore, settings: Settings, account: int) -> None:
    if settings.database.path is not None:
        with sqlite3.connect(settings.database.path) as connection:
            connection.execute("UPDATE account SET secret = x'00ff' WHERE pk = ?", (account,))
        connection.close()
        return
    async with await psycopg.AsyncConnection.connect(settings.database.url) as connection:
        await connection.execute("UPDATE account SET secret = '\\x00ff' WHERE pk = %s", (account,))
