"""What the next owner makes of a dead process's rows, and what a zombie may still say (RELIABILITY §2.1, H5, H10)."""

from dataclasses import replace

import pytest

from mailproxy.model import EventType, State
from mailproxy.records import RecipientOutcome
from tests.sql.conftest import ELSEWHERE, NODE, Sql, World, back, failed, sent, unknown

FAR = 3600.0


async def test_recipients_of_a_row_taken_over_are_not_written(world: World) -> None:
    await world.post("m")
    sender = await world.sender()
    (message,) = await sender.claim()
    await sender.lose_lease()
    heir = await world.sender("second")
    await heir.recover()
    await sender.settle(back(message, recipients=(RecipientOutcome(0, True, "a@example.org"),)))
    (again,) = await heir.claim()
    assert again.recipients == ()


async def test_recipients_of_a_message_that_was_replaced_are_not_written(world: World) -> None:
    await world.post("m")
    sender = await world.sender()
    (message,) = await sender.claim()
    told = replace(failed(message), recipients=(RecipientOutcome(0, True, "a@example.org"),))
    await sender.settle(told)
    await world.post("m")
    (again,) = await sender.claim()
    assert (again.claim, again.revision) == (message.claim, message.revision + 1)
    assert (await sender.settle(told)).settled == frozenset()
    view = await world.store.directory.message(world.tenant, "m")
    assert view is not None
    assert view.refused == ()
    await sender.settle(back(again))
    assert (await sender.claim())[0].recipients == ()


async def test_a_release_told_twice_gives_no_later_claims_token_back(world: World, sql: Sql) -> None:
    await world.add_account("main", limit_per_hour=2)
    await world.post("m")
    sender = await world.sender()
    (first,) = await sender.claim()
    await sender.settle(back(first, refund=True))
    (second,) = await sender.claim()
    await sender.settle(back(first, refund=True))
    assert sql("SELECT sum(n) FROM rate_slot") == [(1,)]
    await sender.settle(back(second, refund=True))
    assert sql("SELECT sum(n) FROM rate_slot") == [(0,)]


async def test_the_heir_frees_what_was_claimed_and_refunds_the_attempt(world: World) -> None:
    await world.post("a", "b")
    sender = await world.sender()
    await sender.claim()
    await sender.lose_lease()
    heir = await world.sender("second")
    found = await heir.recover()
    assert (found.freed, found.poisoned, found.in_doubt, found.left) == (2, (), (), 0)
    again = await heir.claim()
    assert [(m.attempt, m.crashes, m.suspect) for m in again] == [(1, 0, True)] * 2


async def test_rows_of_a_living_lease_are_nobody_elses(world: World) -> None:
    await world.post("a", "b")
    sender = await world.sender()
    await sender.intend((await sender.claim())[0])
    neighbour = await world.sender("second", slot=1)
    found = await neighbour.recover()
    assert (found.freed, found.in_doubt, found.left) == (0, (), 0)


async def test_a_zombie_gets_no_intent_for_rows_taken_over(world: World) -> None:
    await world.post("a", "b")
    zombie = await world.sender()
    claimed = await zombie.claim()
    await zombie.lose_lease()
    heir = await world.sender("second")
    await heir.recover()
    assert await zombie.intend(*claimed) == frozenset()
    assert len(await heir.authorised()) == 2
    assert await zombie.intend(*claimed) == frozenset()


async def test_an_intent_without_outcome_is_in_doubt_at_once_on_its_own_node(world: World) -> None:
    await world.post("m")
    dead = await world.sender()
    (message,) = await dead.authorised()
    await dead.lose_lease()
    heir = await world.sender("second")
    found = await heir.recover(node=NODE, grace=FAR)
    assert [(d.id, d.client_id, d.attempt, d.revision) for d in found.in_doubt] == [(message.id, "m", 1, 0)]
    assert (await heir.settle(unknown(found.in_doubt[0]))).settled == {message.id}
    assert await world.state("m") is State.UNKNOWN


async def test_an_intent_of_another_node_waits_out_its_grace(world: World, sql: Sql) -> None:
    await world.post("m")
    dead = await world.sender(node=ELSEWHERE)
    await dead.authorised()
    await dead.lose_lease()
    heir = await world.sender("second")
    found = await heir.recover(node=NODE, grace=FAR)
    assert (found.in_doubt, found.left) == ((), 1)
    found = await heir.recover(node=NODE, grace=-1)
    assert (len(found.in_doubt), found.left) == (1, 0)


async def test_the_journal_of_another_node_may_still_finish_what_waits(world: World) -> None:
    await world.post("m")
    dead = await world.sender(node=ELSEWHERE)
    (message,) = await dead.authorised()
    await dead.lose_lease()
    await (await world.sender("second")).recover(grace=FAR)
    assert (await dead.settle(sent(message))).settled == {message.id}
    assert await world.state("m") is State.SENT


async def test_only_deaths_while_alone_make_a_message_poison(world: World) -> None:
    await world.post("bad", "good")
    for death in range(4):
        sender = await world.sender(f"s{death}", succeeds=[f"s{death - 1}"])
        found = await sender.recover(poison_after=3)
        assert found.poisoned == ()
        messages = {m.client_id: m for m in await sender.claim()}
        assert messages["bad"].suspect is (death > 0)
        if death:
            await world.store.queue.suspect_alone(sender.epoch, messages["bad"].id, True)
            assert messages["bad"].crashes == death - 1
        assert messages["good"].crashes == 0
    last = await world.sender("last", succeeds=["s3"])
    found = await last.recover(poison_after=3)
    assert found.poisoned == (messages["bad"].id,)
    assert found.freed == 1
    assert await world.state("bad") is State.ERROR
    assert await world.state("good") is State.PENDING
    assert await world.events("bad") == [EventType.ERROR]


async def test_a_suspect_that_reached_the_dot_is_no_suspect_any_more(world: World) -> None:
    await world.post("m")
    await (await world.sender()).claim()
    heir = await world.sender("second", succeeds=["first"])
    await heir.recover()
    (message,) = await heir.claim()
    assert message.suspect
    await heir.intend(message)
    await heir.settle(back(message))
    assert not (await heir.claim())[0].suspect


async def test_late_evidence_turns_unknown_into_sent(world: World) -> None:
    await world.post("m")
    zombie = await world.sender()
    (message,) = await zombie.authorised()
    await zombie.lose_lease()
    heir = await world.sender("second")
    await heir.settle(unknown((await heir.recover()).in_doubt[0]))
    found = await zombie.settle(sent(message, late=True))
    assert (found.settled, found.late) == (frozenset(), {message.id})
    assert await world.state("m") is State.SENT
    assert await world.events("m") == [EventType.UNKNOWN, EventType.SENT]
    assert (await zombie.settle(sent(message))).late == frozenset()


@pytest.mark.parametrize("claimed", [False, True])
async def test_late_evidence_spares_a_retry_that_has_no_intent_yet(world: World, claimed: bool) -> None:
    await world.post("m")
    zombie = await world.sender()
    (message,) = await zombie.authorised()
    await zombie.lose_lease()
    heir = await world.sender("second")
    (doubt,) = (await heir.recover()).in_doubt
    await heir.settle(back(doubt, event=EventType.RETRY_AFTER_UNKNOWN))
    retry = await heir.claim() if claimed else ()
    assert (await zombie.settle(sent(message))).late == {message.id}
    assert await world.state("m") is State.SENT
    assert await heir.intend(*retry) == frozenset()
    assert await heir.claim() == ()


async def test_late_evidence_leaves_a_retry_under_way_alone(world: World) -> None:
    await world.post("m")
    zombie = await world.sender()
    (message,) = await zombie.authorised()
    await zombie.lose_lease()
    heir = await world.sender("second")
    (doubt,) = (await heir.recover()).in_doubt
    await heir.settle(back(doubt))
    (retry,) = await heir.authorised()
    assert (await zombie.settle(sent(message))).late == frozenset()
    assert (await heir.settle(sent(retry))).settled == {message.id}


async def test_late_evidence_never_speaks_for_a_replaced_message(world: World) -> None:
    await world.post("m")
    zombie = await world.sender()
    (message,) = await zombie.authorised()
    await zombie.lose_lease()
    heir = await world.sender("second")
    (doubt,) = (await heir.recover()).in_doubt
    await heir.settle(back(doubt))
    await world.post("m", payload='{"new":true}')
    assert (await zombie.settle(sent(message))).late == frozenset()
    assert await world.state("m") is State.PENDING
    (fresh,) = await heir.claim()
    assert (fresh.payload, fresh.revision, fresh.attempt) == ('{"new":true}', 1, 1)


async def test_late_evidence_does_not_revive_a_failure(world: World) -> None:
    await world.post("m")
    sender = await world.sender()
    (message,) = await sender.authorised()
    await sender.settle(failed(message))
    assert (await sender.settle(sent(message))).late == frozenset()
    assert await world.state("m") is State.ERROR
