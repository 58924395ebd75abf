"""Messages as they are listed, and what is done to them from outside."""

from typing import Any

from mailproxy.model import EventType, MessageId, State
from mailproxy.records import Deleted, MessageFilter, MessageView
from mailproxy.reports import CallSettled
from tests.sql.conftest import Sql, World, failed, sent, unknown


async def listed(world: World, **wanted: object) -> list[str]:
    found = await world.store.directory.messages(
        world.tenant,
        MessageFilter(**wanted),  # type: ignore[arg-type]
        after=None,
        limit=100,
    )
    return [view.client_id for view in found]


async def one_of_each(world: World) -> None:
    """A message in every state, named after it."""
    await world.post("sent", "error", "unknown", "sending", "cancelled", "expired")
    sender = await world.sender()
    claimed = {m.client_id: m for m in await sender.authorised()}
    await sender.settle(sent(claimed["sent"]), failed(claimed["error"]), unknown(claimed["unknown"]))
    for name in ("cancelled", "expired"):
        await sender.settle(failed(claimed[name]))
        await world.post(name, expires_at=1000.0 if name == "expired" else None)
    await world.store.directory.cancel(world.tenant, "cancelled")
    await world.store.directory.expire(limit=5)
    await world.post("pending")
    await world.post("deferred", due_at=9e9)
    await world.post("suspended", batch_code="held")
    await world.store.directory.suspend(world.tenant, "held")


async def test_each_state_is_listed_by_its_name(world: World) -> None:
    await one_of_each(world)
    for state in State:
        assert await listed(world, state=state) == [state.value]
        assert await world.state(state.value) is state


async def test_active_ones_are_those_not_finished(world: World) -> None:
    await one_of_each(world)
    assert await listed(world, active_only=True) == ["sending", "pending", "deferred", "suspended"]


async def test_a_resting_account_defers_its_messages(world: World) -> None:
    await world.post("m")
    await world.store.queue.back_off(
        world.account, condition="backing_off", reason="dns", cause="no such host", delay=600.0
    )
    assert await listed(world, state=State.DEFERRED) == ["m"]
    assert await listed(world, state=State.PENDING) == []
    await world.store.queue.account_works(world.account)
    assert await listed(world, state=State.PENDING) == ["m"]


async def test_pages_follow_each_other_without_gap_or_repeat(world: World) -> None:
    await world.post(*(f"m{i}" for i in range(25)))
    seen: list[MessageView] = []
    after: MessageId | None = None
    while page := await world.store.directory.messages(world.tenant, MessageFilter(), after=after, limit=10):
        seen += page
        after = page[-1].id
    assert [view.client_id for view in seen] == [f"m{i}" for i in range(25)]


async def test_the_newest_come_first_when_asked_for_however_few_of_them_pass(world: World) -> None:
    await world.post(*(f"m{i}" for i in range(30)), batch_code="old")
    await world.post(*(f"n{i}" for i in range(30)), batch_code="new")

    async def pages(limit: int, **filters: Any) -> list[list[str]]:
        wanted = MessageFilter(newest_first=True, **filters)
        found: list[list[str]] = []
        after: MessageId | None = None
        while page := await world.store.directory.messages(world.tenant, wanted, after=after, limit=limit):
            found.append([view.client_id for view in page])
            after = page[-1].id
        return found

    assert await pages(40) == [
        [f"n{i}" for i in range(29, -1, -1)] + [f"m{i}" for i in range(29, 19, -1)],
        [f"m{i}" for i in range(19, -1, -1)],
    ]
    assert (await pages(3, batch_code="old"))[0] == ["m29", "m28", "m27"]
    assert [id_ for page in await pages(7, text="m1") for id_ in page] == [
        *(f"m{i}" for i in range(19, 9, -1)),
        "m1",
    ]
    assert await pages(5, batch_code="none") == []


async def test_the_history_of_several_messages_is_one_answer(world: World) -> None:
    ids = await world.post("a", "b", "c")
    await world.store.directory.cancel(world.tenant, "a")
    await world.store.directory.cancel(world.tenant, "c")
    found = await world.store.directory.history(ids)
    assert set(found) == {ids[0], ids[2]}
    assert found[ids[0]] == await world.store.directory.events(world.tenant, "a")
    assert await world.store.directory.history([]) == {}


async def test_filters_narrow_the_list(world: World) -> None:
    other = await world.add_account("other")
    await world.post("a", batch_code="x", payload='{"subject":"50% off"}')
    await world.post("b", account_pk=other, payload='{"subject":"Hello"}')
    assert await listed(world, account_id="other") == ["b"]
    assert await listed(world, batch_code="x") == ["a"]
    assert await listed(world, text="50% OFF") == ["a"]
    assert await listed(world, text="5_%") == []
    assert await listed(world, text="hello") == ["b"]
    assert await listed(world, since=9e9) == []
    assert await listed(world, until=9e9) == ["a", "b"]
    assert await listed(world, until=1000.0) == []


async def test_the_payload_is_left_out_when_not_wanted(world: World) -> None:
    await world.post("m", payload='{"x":1}')
    (without,) = await world.store.directory.messages(
        world.tenant, MessageFilter(include_payload=False), after=None, limit=1
    )
    (full,) = await world.store.directory.messages(world.tenant, MessageFilter(), after=None, limit=1)
    assert (without.payload, full.payload) == (None, '{"x":1}')


async def test_tenants_see_their_own_and_the_admin_all(world: World) -> None:
    other = await world.add_tenant("other")
    account = await world.add_account("main", other)
    await world.post("m")
    await world.store.queue.enqueue({other: [world.message("n", account_pk=account)]})
    directory = world.store.directory
    everybody = await directory.messages(None, MessageFilter(), after=None, limit=10)
    assert [(view.tenant_id, view.client_id) for view in everybody] == [("acme", "m"), ("other", "n")]
    assert await listed(world) == ["m"]
    assert await directory.message(world.tenant, "n") is None
    assert await directory.events(world.tenant, "n") is None
    assert await directory.cancel(world.tenant, "n") is None
    assert await directory.delete_messages(world.tenant, ["n"]) == Deleted((), ())
    assert await world.store.directory.message(other, "n") is not None


async def test_deleting_takes_everything_but_what_has_an_intent(world: World, sql: Sql) -> None:
    await one_of_each(world)
    everything = [state.value for state in State]
    found = await world.store.directory.delete_messages(world.tenant, [*everything, "nobody"])
    assert set(found.removed) == set(everything) - {"sending"}
    assert found.being_sent == ("sending",)
    assert await listed(world) == ["sending"]
    for table in ("body", "q", "message"):
        assert sql(f"SELECT count(*) FROM {table}") == [(1,)]
    for table in ("event", "outbox"):
        assert sql(f"SELECT count(*) FROM {table}") == [(0,)]


async def test_a_claimed_message_that_is_deleted_gets_no_intent(world: World) -> None:
    await world.post("m")
    sender = await world.sender()
    (message,) = await sender.claim()
    assert (await world.store.directory.delete_messages(world.tenant, ["m"])).removed == ("m",)
    assert await sender.intend(message) == frozenset()
    assert (await sender.settle(sent(message))).late == frozenset()


async def test_events_tell_whether_they_were_reported(world: World) -> None:
    await world.post("m")
    sender = await world.sender()
    await sender.settle(sent((await sender.authorised())[0]))
    epoch = await world.process("reporter", role="reporter")
    reports = world.store.reports
    await reports.claim_tenants(epoch, limit=5, ttl=60, interval=300, fallback=False)
    (event,) = await world.store.directory.events(world.tenant, "m") or []
    assert (event.event_type, event.reported) == (EventType.SENT, False)
    await reports.acknowledge(world.tenant, epoch, [event.event_id])
    (event,) = await world.store.directory.events(world.tenant, "m") or []
    assert event.reported
    view = await world.store.directory.message(world.tenant, "m")
    assert view is not None
    assert view.reported_at is not None


async def test_nothing_is_cleaned_up_before_it_is_finished_reported_and_old(world: World) -> None:
    await one_of_each(world)
    directory = world.store.directory
    assert await directory.cleanup(world.tenant, -1.0, limit=100) == 0
    epoch = await world.process("reporter", role="reporter")
    await world.store.reports.claim_tenants(epoch, limit=5, ttl=60, interval=300, fallback=False)
    events = [report.event_id for report in await world.store.reports.pending(world.tenant, 100)]
    await world.store.reports.acknowledge(world.tenant, epoch, events)
    await world.store.reports.settle_call(world.tenant, epoch, CallSettled(fails=0, called=True))
    assert await directory.cleanup(world.tenant, 600.0, limit=100) == 0
    assert await directory.cleanup(await world.add_tenant("other"), -1.0, limit=100) == 0
    assert await directory.cleanup(None, -1.0, limit=100) == 4
    assert await listed(world) == ["unknown", "sending", "pending", "deferred", "suspended"]


async def test_a_tenant_without_callback_has_nothing_to_report(world: World, sql: Sql) -> None:
    silent = await world.add_tenant("silent")
    account = await world.add_account("main", silent)
    await world.store.queue.enqueue({silent: [world.message("m", account_pk=account)]})
    sender = await world.sender(account=account)
    await sender.settle(sent((await sender.authorised())[0]))
    assert sql("SELECT count(*) FROM outbox") == [(0,)]
    assert sql("SELECT count(*) FROM event") == [(1,)]
    assert await world.store.directory.cleanup(None, -1.0, limit=10) == 1
    assert sql("SELECT count(*) FROM event") == [(0,)]


async def test_a_long_history_is_cleaned_up_in_bites(world: World) -> None:
    await world.post(*(f"m{i}" for i in range(30)))
    sender = await world.sender()
    await sender.settle(*(sent(m) for m in await sender.authorised()))
    await world.add_tenant("acme")
    epoch = await world.process("reporter", role="reporter")
    await world.store.reports.claim_tenants(epoch, limit=5, ttl=60, interval=300, fallback=True)
    events = [report.event_id for report in await world.store.reports.pending(world.tenant, 100)]
    await world.store.reports.acknowledge(world.tenant, epoch, events)
    assert await world.store.directory.cleanup(None, -1.0, limit=20) == 20
    assert await world.store.directory.cleanup(None, -1.0, limit=20) == 10
