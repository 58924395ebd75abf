"""Suspend and activate (REFERENCE §12), effective at the claim and at the intent (RELIABILITY H13)."""

import asyncio

import pytest

from mailproxy.model import State
from mailproxy.records import Suspensions
from tests.sql.conftest import World, back


async def test_a_batch_is_suspended_alone(world: World) -> None:
    await world.post("a", "b", batch_code="news")
    await world.post("c", batch_code="other")
    await world.post("d")
    found = await world.store.directory.suspend(world.tenant, "news")
    assert found == Suspensions(("news",), 2)
    assert [await world.state(id_) for id_ in "abcd"] == [State.SUSPENDED] * 2 + [State.PENDING] * 2
    sender = await world.sender()
    assert [m.client_id for m in await sender.claim()] == ["c", "d"]


async def test_codes_add_up_and_go_one_by_one(world: World) -> None:
    directory = world.store.directory
    await world.post("a", batch_code="one")
    await world.post("b", batch_code="two")
    assert (await directory.suspend(world.tenant, "two")).codes == ("two",)
    assert (await directory.suspend(world.tenant, "one")).codes == ("one", "two")
    assert (await directory.suspend(world.tenant, "one")).codes == ("one", "two")
    left = await directory.activate(world.tenant, "two")
    assert left == Suspensions(("one",), 1)
    assert [m.client_id for m in await (await world.sender()).claim()] == ["b"]


async def test_without_a_code_everything_of_the_tenant_stops(world: World) -> None:
    await world.post("a", batch_code="news")
    await world.post("b")
    other = await world.add_tenant("other")
    account = await world.add_account("main", other)
    await world.store.queue.enqueue({other: [world.message("m", account_pk=account)]})
    assert await world.store.directory.suspend(world.tenant, None) == Suspensions(("*",), 2)
    assert await (await world.sender()).claim() == ()
    assert [await world.state(id_) for id_ in "ab"] == [State.SUSPENDED] * 2
    assert len(await (await world.sender("theirs", account=account)).claim()) == 1


async def test_under_a_full_suspension_codes_neither_add_nor_go(world: World) -> None:
    directory = world.store.directory
    await world.post("a", batch_code="news")
    await directory.suspend(world.tenant, None)
    assert (await directory.suspend(world.tenant, "news")).codes == ("*",)
    assert await directory.activate(world.tenant, "news") is None
    assert await directory.activate(world.tenant, None) == Suspensions((), 1)
    assert len(await (await world.sender()).claim()) == 1


async def test_activating_what_is_not_suspended_is_no_error(world: World) -> None:
    assert await world.store.directory.activate(world.tenant, "news") == Suspensions((), 0)
    assert await world.store.directory.activate(world.tenant, None) == Suspensions((), 0)


async def test_a_percent_sign_in_a_code_is_just_a_percent_sign(world: World) -> None:
    await world.post("a", batch_code="x1")
    await world.store.directory.suspend(world.tenant, "x%")
    assert await world.state("a") is State.PENDING


@pytest.mark.parametrize("code", ["news", None])
async def test_after_suspend_answered_no_intent_commits(world: World, code: str | None) -> None:
    await world.post("a", batch_code="news")
    await world.post("b")
    sender = await world.sender()
    a, b = await sender.claim()
    await world.store.directory.suspend(world.tenant, code)
    assert await sender.intend(a, b) == ({b.id} if code else frozenset())


async def test_what_is_given_back_under_a_suspension_stays_suspended(world: World) -> None:
    await world.post("a", batch_code="news")
    sender = await world.sender()
    (a,) = await sender.claim()
    await world.store.directory.suspend(world.tenant, "news")
    await sender.settle(back(a, refund=True))
    assert await world.state("a") is State.SUSPENDED
    claim = await world.store.queue.claim(world.account, 0, epoch=sender.epoch, limit=5)
    assert (claim.messages, claim.wait) == ((), None)
    await world.store.directory.activate(world.tenant, "news")
    assert len(await sender.claim()) == 1


async def test_what_arrives_under_a_suspension_is_suspended(world: World) -> None:
    await world.store.directory.suspend(world.tenant, "news")
    await world.post("a", batch_code="news")
    await world.post("moved")
    await world.post("moved", batch_code="news")
    assert await (await world.sender()).claim() == ()
    assert [await world.state(id_) for id_ in ("a", "moved")] == [State.SUSPENDED] * 2


async def test_the_whole_scheduler_stops_and_starts(world: World) -> None:
    await world.post("a", batch_code="news")
    sender = await world.sender()
    (a,) = await sender.claim()
    assert (await world.store.directory.suspend(None, None)).codes == ("*",)
    assert not (await world.store.fleet.overview()).active
    assert await sender.intend(a) == frozenset()
    await sender.settle(back(a))
    assert await sender.claim() == ()
    assert await world.store.directory.activate(None, None) == Suspensions((), 1)
    assert (await world.store.fleet.overview()).active
    assert len(await sender.authorised()) == 1


async def test_the_schedulers_suspension_is_not_the_tenants(world: World) -> None:
    await world.store.directory.suspend(world.tenant, None)
    await world.store.directory.activate(None, None)
    await world.post("a")
    assert await (await world.sender()).claim() == ()


async def test_nothing_stays_held_by_a_suspension_that_is_gone(world: World) -> None:
    directory = world.store.directory

    async def post(number: int) -> None:
        await world.post(*(f"m{number}-{i}" for i in range(5)), batch_code="news")

    async def flip() -> None:
        for _ in range(10):
            await directory.suspend(world.tenant, "news")
            await directory.activate(world.tenant, "news")

    await asyncio.gather(flip(), *(post(number) for number in range(40)))
    assert len(await (await world.sender()).claim(limit=500)) == 200


async def test_intents_and_suspensions_at_once_never_pass_each_other(world: World) -> None:
    await world.post(*(f"m{i}" for i in range(200)))
    sender = await world.sender()
    claimed = await sender.claim(limit=200)
    granted: list[int] = []

    async def intend(start: int) -> None:
        for message in claimed[start : start + 50]:
            granted.extend(await sender.intend(message))

    async def suspend() -> int:
        while len(granted) < 20:
            await asyncio.sleep(0)
        await world.store.directory.suspend(world.tenant, None)
        return len(granted)

    *_, at_answer = await asyncio.gather(*(intend(start) for start in (0, 50, 100, 150)), suspend())
    assert 20 <= at_answer < 200
    assert len(granted) - at_answer <= 4
