"""What a sender does with messages, seen at the server and in the store."""

import asyncio
import time
from pathlib import Path

import pytest

from mailproxy.config import Settings
from mailproxy.model import AccountCondition, OnUnknownOutcome, Priority, State
from mailproxy.records import AccountWrite
from sql.store import SqlStore
from tests.sender.world import World, make_world
from tests.support.smtp import Sink
from workers.sender.connect import Timeouts


async def view_of(world: World) -> AccountCondition:
    view = await world.store.directory.account(world.tenant, "main")
    assert view is not None
    return view.condition


async def test_messages_arrive_once_on_few_connections(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port)
        ids = await world.post(n=60)
        async with world.sender():
            await world.all_in(State.SENT)
        received = sink.messages()
        assert sorted(m.id or "" for m in received) == sorted(ids)
        assert len({m.session for m in received}) <= settings.sender_connections
        assert len({m.message_id for m in received}) == 60


async def test_three_451_then_250_is_one_delivery_in_four_attempts_with_equal_bytes(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log", keep=tmp_path) as sink:
        world = await make_world(store, settings, sink.port, retry_delays=(0.05,))
        (id_,) = await world.post("defer451x3@example.com")
        async with world.sender():
            await world.all_in(State.SENT)
        (delivery,) = sink.messages()
        assert delivery.id == id_
        view = await world.view(id_)
        assert view.attempts == 4
        events = await world.events(id_)
        assert [str(e.event_type) for e in events] == ["deferred"] * 3 + ["sent"]
        assert events[0].detail.code == 451
        (content,) = sink.contents()
        assert sink.commands.count("DATA") == 4
        assert f"<{delivery.message_id.strip('<>')}>".encode() in content


async def test_a_550_at_rcpt_is_an_error_at_once(store: SqlStore, settings: Settings, tmp_path: Path) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port)
        (id_,) = await world.post("refuse550@example.com")
        async with world.sender():
            await world.all_in(State.ERROR)
        view = await world.view(id_)
        assert view.attempts == 1
        assert view.error is not None
        assert view.error.endswith("(SMTP 550)")
        assert [r.address for r in view.refused] == ["refuse550@example.com"]
        assert sink.messages() == []


async def test_a_refused_recipient_is_reported_and_the_other_gets_the_message(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port)
        (id_,) = await world.post("bob@example.com", "refuse550@example.com")
        async with world.sender():
            await world.all_in(State.SENT)
        (delivery,) = sink.messages()
        assert delivery.rcpts == ("bob@example.com",)
        (event,) = await world.events(id_)
        assert [(r.address, r.code) for r in event.detail.refused] == [("refuse550@example.com", 550)]


async def test_a_deferred_recipient_is_tried_alone_and_the_others_never_again(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, retry_delays=(0.05,), max_retries=2)
        (id_,) = await world.post("bob@example.com", "rcpt450@example.com", "refuse550@example.com")
        async with world.sender():
            await world.all_in(State.SENT)
        (delivery,) = sink.messages()
        assert delivery.rcpts == ("bob@example.com",)
        offered = [c for c in sink.commands if c.upper().startswith("RCPT")]
        assert len([c for c in offered if "bob@" in c]) == 1
        assert len([c for c in offered if "refuse550@" in c]) == 1
        assert len([c for c in offered if "rcpt450@" in c]) == 3
        events = await world.events(id_)
        named = [{r.address: r.code for r in event.detail.refused} for event in events]
        assert named == [{"rcpt450@example.com": 450, "refuse550@example.com": 550}] * 3
        assert [str(event.event_type) for event in events] == ["deferred", "deferred", "sent"]


async def test_a_message_all_of_whose_recipients_wait_names_none(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, retry_delays=(60.0,))
        (id_,) = await world.post("rcpt450@example.com", "rcpt451@example.com")
        async with world.sender():
            await world.until(lambda states: states[id_] is State.DEFERRED)
        (event,) = await world.events(id_)
        assert event.detail.refused == ()


@pytest.mark.parametrize(
    ("policy", "deliveries", "state"),
    [(OnUnknownOutcome.HOLD, 1, State.UNKNOWN), (OnUnknownOutcome.RETRY, 3, State.UNKNOWN)],
)
async def test_a_dropped_connection_after_the_dot_is_an_unknown_outcome(
    policy: OnUnknownOutcome,
    deliveries: int,
    state: State,
    store: SqlStore,
    settings: Settings,
    tmp_path: Path,
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(
            store, settings, sink.port, on_unknown_outcome=policy, retry_delays=(0.05,), max_retries=2
        )
        await world.post("dropdot@example.com")
        async with world.sender():
            await world.all_in(state)
        assert len(sink.messages()) == deliveries
        assert len({m.sha256 for m in sink.messages()}) == 1


async def test_higher_priorities_go_first(store: SqlStore, settings: Settings, tmp_path: Path) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port)
        order = [Priority.LOW, Priority.MEDIUM, Priority.IMMEDIATE, Priority.HIGH]
        ids = {priority: (await world.post(priority=priority))[0] for priority in order}
        one_by_one = settings.model_copy(update={"sender_connections": 1})
        world.settings = one_by_one
        async with world.sender():
            await world.all_in(State.SENT)
        assert [m.id for m in sink.messages()] == [ids[priority] for priority in sorted(order)]


async def test_a_message_the_renderer_cannot_take_fails_alone(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port)
        (bad,) = await world.post(content={"attachments": [{"filename": "no content"}]})
        (worse,) = await world.post(content={"to": [{"not": "text"}]})
        good = await world.post(n=3)
        async with world.sender():
            states = await world.until(lambda s: set(s.values()) <= {State.SENT, State.ERROR})
        assert states == {bad: State.ERROR, worse: State.ERROR} | dict.fromkeys(good, State.SENT)


async def test_a_message_past_its_age_expires_instead_of_going_out(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port)
        (old,) = await world.post(expires_at=time.time() - 1)
        (new,) = await world.post()
        async with world.sender():
            states = await world.until(lambda s: s[new] is State.SENT and s[old] is not State.PENDING)
        assert states[old] is State.EXPIRED
        assert (await world.view(old)).attempts == 0
        assert [m.id for m in sink.messages()] == [new]


async def test_a_refused_connection_rests_the_account_and_costs_no_attempt(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        port = sink.port
    world = await make_world(store, settings, port)
    ids = await world.post(n=5)
    async with world.sender():
        async with asyncio.timeout(10):
            while await view_of(world) is not AccountCondition.BACKING_OFF:
                await asyncio.sleep(0.02)
        await world.all_in(State.DEFERRED)
    assert [(await world.view(id_)).attempts for id_ in ids] == [0] * 5
    assert [await world.events(id_) for id_ in ids] == [[]] * 5
    async with Sink(tmp_path / "sink.log", port=port) as sink:
        await world.store.directory.reset_account(world.tenant, "main")
        async with world.sender():
            await world.all_in(State.SENT)
        assert await view_of(world) is AccountCondition.OK


async def test_a_refused_login_opens_the_breaker_until_somebody_closes_it(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log", user="alice", password="right") as sink:
        world = await make_world(store, settings, sink.port, user="alice", password="wrong")
        (id_,) = await world.post()
        async with world.sender():
            async with asyncio.timeout(10):
                while await view_of(world) is not AccountCondition.BREAKER_OPEN:
                    await asyncio.sleep(0.02)
            async with asyncio.timeout(10):
                while (await world.view(id_)).attempts:
                    await asyncio.sleep(0.02)
            await world.change_account(password="right")
            await world.all_in(State.SENT)
        assert len([c for c in sink.commands if c.upper().startswith("AUTH")]) == 2


async def test_a_suspended_tenant_sends_nothing_until_activated(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port)
        await world.post(n=50)
        async with world.sender():
            await store.directory.suspend(world.tenant, None)
            after_answer = len(sink.messages())
            await world.until(lambda s: State.SENDING not in s.values())
            assert len(sink.messages()) <= after_answer + settings.sender_connections
            assert set((await world.states()).values()) <= {State.SUSPENDED, State.SENT}
            await store.directory.activate(world.tenant, None)
            await world.all_in(State.SENT)
        assert len(sink.messages()) == 50


async def test_a_stop_waits_for_the_reply_to_the_dot_and_gives_the_rest_back(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, on_unknown_outcome=OnUnknownOutcome.HOLD)
        ids = await world.post("slow300@example.com", n=30)
        async with world.sender() as life:
            async with asyncio.timeout(10):
                while not sink.messages():
                    await asyncio.sleep(0.01)
            life.stop(5.0)
        states = await world.states()
        sent = {id_ for id_, state in states.items() if state is State.SENT}
        assert sent == {m.id for m in sink.messages()}
        assert {states[id_] for id_ in set(ids) - sent} == {State.PENDING}
        assert {(await world.view(id_)).attempts for id_ in set(ids) - sent} == {0}


async def test_a_hanging_server_delays_only_its_own_account(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with (
        Sink(tmp_path / "good.log") as good,
        Sink(tmp_path / "bad.log", hang="data") as bad,
    ):
        world = await make_world(store, settings, good.port)
        hanging = await store.directory.put_account(
            world.tenant, AccountWrite(id="hanging", host="127.0.0.1", port=bad.port, use_tls=False)
        )
        mine, world.account = world.account, hanging
        await world.post(n=20)
        world.account = mine
        quick = await world.post(n=20)
        async with world.sender(more=((hanging, 0),)) as life:
            await world.until(lambda s: all(s[id_] is State.SENT for id_ in quick))
            life.stop(0.5)
        assert bad.messages() == []
        assert len(good.messages()) == 20


async def test_a_server_silent_after_the_dot_is_unknown_after_its_own_long_timeout(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, on_unknown_outcome=OnUnknownOutcome.HOLD)
        await world.post("hangdot@example.com")
        async with world.sender(timeouts=Timeouts(dot=0.3)):
            await world.all_in(State.UNKNOWN)
        assert len(sink.messages()) == 1
