"""Callers that wait together are served together, and none pays for another's mistake."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from mailproxy.audit import Command, CommandFilter, Pending
from mailproxy.errors import StorageUnavailable
from mailproxy.model import MessageId, Priority, TenantPk
from mailproxy.once import Kept, Once, Ticket
from mailproxy.records import Enqueued, NewMessage
from sql.gather import LARGEST_GROUP, Asked, Enqueues, Result, Shared
from tests.sql.conftest import World

TENANT, OTHER = TenantPk(1), TenantPk(2)


def call(*ids: str, tenant: TenantPk = TENANT, key: str | None = None) -> Asked:
    items = [
        NewMessage(client_id=id_, account_pk=None, priority=Priority.MEDIUM, payload="{}") for id_ in ids
    ]
    ticket = Ticket(tenant, key or "", b"")
    return Asked({tenant: items}, once=Once(ticket, lambda _: Kept(b"", 200, "{}")) if key else None)


class Recording:
    """Queues into a list, a moment later; fails for what it is told to."""

    def __init__(self, *, fails: str = "", error: Exception | None = None) -> None:
        self.rounds: list[list[str]] = []
        self._fails = fails
        self._error = error

    async def __call__(self, calls: Sequence[Asked]) -> list[Result]:
        asked = [[item.client_id for items in one.batches.values() for item in items] for one in calls]
        ids = [id_ for own in asked for id_ in own]
        self.rounds.append(ids)
        await asyncio.sleep(0.01)
        if self._error is not None and self._fails in ids:
            raise self._error
        return [[Enqueued(id_, MessageId(1)) for id_ in own] for own in asked]


async def test_calls_that_wait_share_a_round_and_each_gets_its_own_answer() -> None:
    enqueue = Recording()
    enqueues = Enqueues(enqueue)
    calls = [call(f"a{n}", f"b{n}", tenant=(TENANT, OTHER)[n % 2]) for n in range(20)]
    answers = await asyncio.gather(*(enqueues.add(one) for one in calls))
    assert [[one.client_id for one in answer or ()] for answer in answers] == [
        [f"a{n}", f"b{n}"] for n in range(20)
    ]
    assert len(enqueue.rounds) <= 3
    assert sorted(id_ for ids in enqueue.rounds for id_ in ids) == sorted(
        f"{letter}{n}" for n in range(20) for letter in "ab"
    )


async def test_equal_ids_of_different_calls_never_share_a_round() -> None:
    enqueue = Recording()
    enqueues = Enqueues(enqueue)
    await asyncio.gather(*(enqueues.add(call("same", f"own{n}")) for n in range(5)))
    assert [ids.count("same") for ids in enqueue.rounds] == [1] * 5


async def test_equal_keys_of_different_calls_never_share_a_round() -> None:
    enqueue = Recording()
    enqueues = Enqueues(enqueue)
    calls = [call(f"m{n}", key="same" if n % 2 else f"own{n}") for n in range(6)]
    await asyncio.gather(*(enqueues.add(one) for one in calls))
    odd = {"m1", "m3", "m5"}
    assert all(len(odd.intersection(ids)) <= 1 for ids in enqueue.rounds)
    assert len(enqueue.rounds) < 6


async def test_a_round_is_no_larger_than_it_may_be() -> None:
    enqueue = Recording()
    enqueues = Enqueues(enqueue)
    size = LARGEST_GROUP // 2
    await asyncio.gather(*(enqueues.add(call(*(f"{n}-{m}" for m in range(size)))) for n in range(7)))
    assert max(map(len, enqueue.rounds)) == 2 * size


async def test_what_is_wrong_with_one_call_is_its_own_affair() -> None:
    enqueues = Enqueues(Recording(fails="bad", error=ValueError("bad")))
    wanted = [enqueues.add(call(id_)) for id_ in ("x", "y", "bad", "z", "w")]
    answers = await asyncio.gather(*wanted, return_exceptions=True)
    assert [type(answer) for answer in answers] == [list, list, ValueError, list, list]


async def test_an_outage_is_told_to_all_who_waited() -> None:
    enqueues = Enqueues(Recording(fails="c", error=StorageUnavailable("gone")))
    answers = await asyncio.gather(*(enqueues.add(call(id_)) for id_ in "abcd"), return_exceptions=True)
    assert StorageUnavailable in [type(answer) for answer in answers]
    with pytest.raises(StorageUnavailable):
        await enqueues.add(call("c"))


async def test_a_caller_that_goes_away_takes_nothing_from_the_others() -> None:
    enqueue = Recording()
    enqueues = Enqueues(enqueue)
    calls = [asyncio.create_task(enqueues.add(call(id_))) for id_ in "abcdef"]
    await asyncio.sleep(0)
    calls[3].cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) is list for answer in answers] == [True, True, True, False, True, True]


async def test_equal_questions_are_asked_once_and_never_answered_from_before() -> None:
    truth, asked = 0, 0

    async def ask(_: str) -> int:
        nonlocal asked
        asked, found = asked + 1, truth
        await asyncio.sleep(0.01)
        return found

    shared: Shared[str, int] = Shared(ask)
    first = asyncio.create_task(shared.get("k"))
    await asyncio.sleep(0.001)
    truth = 1
    later = await asyncio.gather(*(shared.get("k") for _ in range(10)))
    assert (await first, set(later), asked) == (0, {1}, 2)


async def test_calls_at_once_enter_a_command_each(world: World) -> None:
    pending = [Pending(Command("POST /commands/add-messages", "admin", f"r{n}")) for n in range(60)]
    await asyncio.gather(
        *(
            world.store.noting(one).queue.enqueue({world.tenant: [world.message(f"m{n}")]})
            for n, one in enumerate(pending)
        )
    )
    log = await world.store.administration.oldest_commands(CommandFilter(), after=None, limit=99)
    entered = {entry.id: entry.command.request_id for entry in log}
    assert len(entered) == 60
    assert [entered[one.entry or 0] for one in pending] == [f"r{n}" for n in range(60)]


async def test_keyed_calls_at_once_are_each_queued_once_with_their_own_answer(world: World) -> None:
    def once(n: int) -> Once[Sequence[Enqueued]]:
        ticket = Ticket(world.tenant, f"k{n}", bytes([n]))
        return Once(ticket, lambda found: Kept(bytes([n]), 200, ",".join(one.client_id for one in found)))

    async def post(n: int) -> list[Enqueued] | Kept | None:
        return await world.store.queue.enqueue_once({world.tenant: [world.message(f"m{n}")]}, once(n))

    both = await asyncio.gather(*(post(n % 30) for n in range(60)))
    assert all(isinstance(one, list) for one in both[:30])
    assert not any(isinstance(one, list) for one in both[30:])
    again = [await post(n) for n in range(30)]
    assert [one.answer for one in again if isinstance(one, Kept)] == [f"m{n}" for n in range(30)]
    assert await world.store.queue.queued(world.tenant, 1000) == 30
    plain, seventh = await asyncio.gather(world.post("plain"), post(7))
    assert plain
    assert seventh == Kept(bytes([7]), 200, "m7")


async def test_a_call_that_fails_enters_nothing(world: World) -> None:
    pending = [Pending(Command("POST /commands/add-messages", "admin", f"r{n}")) for n in range(3)]
    wrong = replace(world.message("bad"), payload="\0" * 9, priority=cast("Priority", 9))
    items = [world.message("a"), wrong, world.message("b")]
    answers = await asyncio.gather(
        *(
            world.store.noting(one).queue.enqueue({world.tenant: [item]})
            for one, item in zip(pending, items, strict=True)
        ),
        return_exceptions=True,
    )
    assert [isinstance(answer, list) for answer in answers] == [True, False, True]
    log = await world.store.administration.oldest_commands(CommandFilter(), after=None, limit=99)
    assert sorted(entry.command.request_id for entry in log) == ["r0", "r2"]
    assert pending[1].entry is None


async def test_calls_at_once_are_all_queued(world: World) -> None:
    await asyncio.gather(*(world.post(f"m{n}") for n in range(60)))
    assert await world.store.queue.queued(world.tenant, 1000) == 60
