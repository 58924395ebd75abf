"""Leases of (account, slot), who is due, and how an account rests (RELIABILITY §2.3)."""

import pytest

from mailproxy.model import AccountCondition, AccountPk
from mailproxy.records import Rest, Taken
from tests.sql.conftest import ELSEWHERE, NODE, NOW, TTL, Sql, World, back, sent


async def due(world: World, *, node: str = NODE, slots: int = 1) -> list[tuple[AccountPk, int]]:
    found = await world.store.queue.due_accounts(node, slots)
    return [(one.account_pk, one.slot) for one in found.accounts]


async def test_a_lease_is_one_processes_until_it_ends(world: World) -> None:
    queue = world.store.queue
    first, second = await world.process("a"), await world.process("b")
    assert await queue.take_lease(world.account, 0, epoch=first, ttl=TTL) == Taken(unclean=False)
    assert await queue.take_lease(world.account, 0, epoch=second, ttl=TTL) is None
    assert await queue.take_lease(world.account, 1, epoch=second, ttl=TTL) == Taken(unclean=False)
    await queue.renew_leases(first, [world.account], NOW)
    assert await queue.take_lease(world.account, 0, epoch=second, ttl=TTL) == Taken(unclean=True)


async def test_a_lease_given_back_leaves_nothing_to_recover(world: World) -> None:
    queue = world.store.queue
    first, second = await world.process("a"), await world.process("b")
    await queue.take_lease(world.account, 0, epoch=first, ttl=TTL)
    await queue.release_leases(second)
    assert await queue.take_lease(world.account, 0, epoch=second, ttl=TTL) is None
    await queue.release_leases(first)
    assert await queue.take_lease(world.account, 0, epoch=second, ttl=TTL) == Taken(unclean=False)


async def test_some_leases_are_given_back_and_others_kept(world: World) -> None:
    other = await world.add_account("other")
    sender = await world.sender()
    await world.store.queue.take_lease(other, 0, epoch=sender.epoch, ttl=TTL)
    await world.store.queue.release_leases(sender.epoch, (other, 0))
    assert await world.store.queue.renew_leases(sender.epoch, [world.account], TTL) == {(world.account, 0)}


async def test_an_ended_lease_is_never_renewed(world: World) -> None:
    sender = await world.sender()
    assert await world.store.queue.renew_leases(sender.epoch, [world.account], TTL) == {(world.account, 0)}
    await sender.lose_lease()
    assert await world.store.queue.renew_leases(sender.epoch, [world.account], TTL) == frozenset()


async def test_the_heir_of_a_reaped_process_need_not_wait(world: World) -> None:
    await world.sender("reaped")
    heir = await world.process("heir")
    queue = world.store.queue
    assert await queue.take_lease(world.account, 0, epoch=heir, ttl=TTL, succeeds=["other"]) is None
    taken = await queue.take_lease(world.account, 0, epoch=heir, ttl=TTL, succeeds=["other", "reaped"])
    assert taken == Taken(unclean=True)


async def test_an_account_that_is_gone_cannot_be_leased(world: World) -> None:
    epoch = await world.process("a")
    await world.store.directory.delete_account(world.tenant, "main")
    assert await world.store.queue.take_lease(world.account, 0, epoch=epoch, ttl=TTL) is None


async def test_epochs_only_grow(world: World, sql: Sql) -> None:
    epochs = [await world.process(f"p{i}") for i in range(3)]
    for epoch in epochs:
        await world.store.fleet.leave(epoch)
    assert await world.store.fleet.forget_dead(-1.0) == 3
    assert await world.process("next") > max(epochs)


async def test_accounts_with_due_messages_are_due(world: World) -> None:
    quiet = await world.add_account("quiet")
    accounts = [await world.add_account(f"a{i}") for i in range(5)]
    for n, account in enumerate(accounts):
        await world.post(*(f"m{n}-{i}" for i in range(n + 1)), account_pk=account, priority=n % 4)
    assert await due(world) == [(account, 0) for account in accounts]
    assert quiet not in {account for account, _ in await due(world)}


async def test_nothing_due_says_when_something_will_be(world: World) -> None:
    assert (await world.store.queue.due_accounts(NODE, 1)).next_due_in is None
    sender = await world.sender()
    await world.post("m")
    await sender.settle(back((await sender.claim())[0], delay=600.0))
    found = await world.store.queue.due_accounts(NODE, 1)
    assert found.accounts == ()
    assert found.next_due_in is not None
    assert 540 < found.next_due_in <= 600


async def test_a_slot_that_nobody_takes_any_more_is_settled_by_another_slots_sender(world: World) -> None:
    await world.post("a", "b")
    sender = await world.sender()
    former = await world.sender("former", slot=1)
    (a,) = await former.claim(1)
    assert not (await world.store.queue.claim(world.account, 0, epoch=sender.epoch, limit=0)).bereft
    await former.lose_lease()
    assert (await world.store.queue.claim(world.account, 0, epoch=sender.epoch, limit=0)).bereft
    assert (await sender.recover()).freed == 1
    assert not (await world.store.queue.claim(world.account, 0, epoch=sender.epoch, limit=0)).bereft
    assert {message.id for message in await sender.authorised()} > {a.id}
    assert await due(world, node=ELSEWHERE) == []


async def test_an_ended_lease_stays_while_an_intent_waits_for_its_journal(world: World) -> None:
    await world.post("m")
    former = await world.sender("former", node=ELSEWHERE, slot=1)
    (message,) = await former.authorised()
    await former.lose_lease()
    sender = await world.sender()
    assert (await sender.recover(grace=3600.0)).left == 1
    assert await due(world, node=NODE) == [(world.account, 0)]
    assert (await former.settle(sent(message))).settled == {message.id}
    assert (await sender.recover(grace=3600.0)).left == 0
    assert await due(world, node=NODE) == []


async def test_free_slots_and_those_of_this_node_are_offered(world: World) -> None:
    await world.post("m")
    await world.sender("theirs", node=ELSEWHERE, slot=0)
    await world.sender("ours", node=NODE, slot=1)
    assert await due(world, slots=3) == [(world.account, 1), (world.account, 2)]
    assert await due(world, slots=1) == []
    assert await due(world, node=ELSEWHERE, slots=2) == [(world.account, 0)]


async def test_a_foreign_lease_that_ended_is_offered(world: World) -> None:
    await world.post("m")
    theirs = await world.sender("theirs", node=ELSEWHERE)
    assert await due(world) == []
    await theirs.lose_lease()
    assert await due(world) == [(world.account, 0)]


@pytest.mark.parametrize("trouble", ["breaker", "suspended", "not due"])
async def test_an_ended_lease_is_offered_whatever_the_accounts_condition(world: World, trouble: str) -> None:
    await world.post("m")
    sender = await world.sender()
    await sender.authorised()
    if trouble == "breaker":
        await world.store.queue.back_off(
            world.account,
            condition=AccountCondition.BREAKER_OPEN,
            reason="authentication",
            cause="535",
            delay=0,
        )
    elif trouble == "suspended":
        await world.store.directory.suspend(world.tenant, None)
    assert await due(world, node=ELSEWHERE) == []
    await sender.lose_lease()
    assert await due(world, node=ELSEWHERE) == [(world.account, 0)]


async def test_suspended_and_held_messages_make_no_account_due(world: World) -> None:
    await world.post("a", batch_code="news")
    await world.store.directory.suspend(world.tenant, "news")
    assert await due(world) == []
    await world.store.directory.activate(world.tenant, "news")
    await world.store.directory.suspend(None, None)
    assert await due(world) == []
    await world.store.directory.activate(None, None)
    assert await due(world) == [(world.account, 0)]


async def test_a_resting_account_is_not_due_and_its_claims_wait(world: World) -> None:
    await world.post("m")
    sender = await world.sender()
    rest = await world.store.queue.back_off(
        world.account, condition=AccountCondition.BACKING_OFF, reason="dns", cause="no such host", delay=600.0
    )
    assert rest == Rest(1, is_new=True)
    found = await world.store.queue.due_accounts(NODE, 1)
    assert found.accounts == ()
    assert found.next_due_in is not None
    assert 540 < found.next_due_in <= 600
    claim = await world.store.queue.claim(world.account, 0, epoch=sender.epoch, limit=5)
    assert claim.messages == ()
    assert claim.wait is not None
    assert 540 < claim.wait <= 600


async def test_failures_count_up_until_the_account_works(world: World) -> None:
    queue, directory = world.store.queue, world.store.directory

    async def fail(reason: str = "tls") -> Rest:
        return await queue.back_off(
            world.account, condition=AccountCondition.BACKING_OFF, reason=reason, cause="bad", delay=600.0
        )

    first, *again = [await fail() for _ in range(3)]
    assert first == Rest(1, is_new=True)
    assert again == [Rest(2, is_new=False), Rest(3, is_new=False)]
    view = await directory.account(world.tenant, "main")
    assert view is not None
    assert (view.condition, view.reason, view.cause) == (AccountCondition.BACKING_OFF, "tls", "bad")
    assert view.since is not None
    assert view.next_try is not None
    assert view.next_try > view.since
    assert await fail("dns") == Rest(4, is_new=True)
    assert await queue.account_works(world.account)
    assert not await queue.account_works(world.account)
    view = await directory.account(world.tenant, "main")
    assert view is not None
    assert (view.condition, view.reason, view.since, view.next_try) == (AccountCondition.OK, None, None, None)
    assert await fail() == Rest(1, is_new=True)


async def test_an_open_breaker_waits_for_an_operator(world: World) -> None:
    await world.post("m")
    sender = await world.sender()
    await world.store.queue.back_off(
        world.account,
        condition=AccountCondition.BREAKER_OPEN,
        reason="authentication",
        cause="(535, 'no')",
        delay=0.0,
    )
    claim = await world.store.queue.claim(world.account, 0, epoch=sender.epoch, limit=5)
    assert (claim.messages, claim.wait) == ((), None)
    assert await due(world) == []
    assert await world.store.directory.reset_account(world.tenant, "main")
    assert not await world.store.directory.reset_account(world.tenant, "nobody")
    assert await due(world) == [(world.account, 0)]
    assert len(await sender.claim()) == 1


async def test_a_changed_account_is_tried_again_and_its_version_grows(world: World) -> None:
    await world.post("m")
    sender = await world.sender()
    before = (await world.store.queue.claim(world.account, 0, epoch=sender.epoch, limit=0)).account_version
    await world.store.queue.back_off(
        world.account,
        condition=AccountCondition.BREAKER_OPEN,
        reason="authentication",
        cause="535",
        delay=0.0,
    )
    await world.add_account("main", password="right now")
    claim = await world.store.queue.claim(world.account, 0, epoch=sender.epoch, limit=5)
    assert len(claim.messages) == 1
    assert claim.account_version == before + 1


async def test_a_beat_keeps_a_process_known_and_the_dead_are_forgotten(world: World) -> None:
    fleet = world.store.fleet
    alive, dead, owing = [await world.process(name) for name in ("alive", "dead", "owing")]
    await world.store.queue.take_lease(world.account, 0, epoch=owing, ttl=TTL)
    assert await fleet.beat(alive)
    await fleet.leave(dead)
    assert not await fleet.beat(dead)
    assert [p.owner for p in await fleet.processes()] == ["alive", "owing"]
    assert await fleet.forget_dead(-1.0) == 2
    assert not await fleet.beat(alive)
    assert [p.epoch for p in await fleet.processes()] == [owing]


async def test_a_process_with_rows_to_settle_is_not_forgotten(world: World) -> None:
    await world.post("m")
    sender = await world.sender()
    await sender.claim()
    await world.store.queue.release_leases(sender.epoch)
    assert await world.store.fleet.forget_dead(-1.0) == 0
    heir = await world.sender("heir")
    assert (await heir.recover()).freed == 1
    assert await world.store.fleet.forget_dead(-1.0) == 1
