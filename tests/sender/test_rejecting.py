"""What a rate limit leaves no room for: deferred, or refused when the account says so (CONTRACT §5)."""

from collections import Counter
from pathlib import Path

from mailproxy.config import Settings
from mailproxy.model import State
from sql.store import SqlStore
from tests.sender.world import details, make_world
from tests.support.smtp import Sink


async def test_above_the_limit_messages_are_refused_at_once_when_the_account_says_so(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, limit_per_hour=3, limit_behavior="reject")
        await world.post(n=8)
        async with world.sender():
            states = await world.until(lambda states: set(states.values()) <= {State.SENT, State.ERROR})
            assert Counter(states.values()) == {State.SENT: 3, State.ERROR: 5}
            (later,) = await world.post()
            assert (await world.until(lambda states: states[later] is State.ERROR))[later] is State.ERROR
        assert len(sink.messages()) == 3
    view = await world.view(later)
    assert (view.error, view.attempts) == ("rate_limit_exceeded", 0)
    ((kind, detail),) = details(await world.events(later))
    assert (kind, detail["error"]) == ("error", "rate_limit_exceeded")  # type: ignore[index]
    account = await store.directory.account(world.tenant, "main")
    assert account is not None
    assert [(window.used, window.left) for window in account.windows] == [(3, 0)], "a refusal uses no token"


async def test_waiting_and_suspended_messages_are_not_refused(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, limit_per_hour=1, limit_behavior="reject")
        await store.directory.suspend(world.tenant, "b")
        (held,) = await world.post(batch_code="b")
        (later,) = await world.post(due_at=4e9)
        await world.post(n=3)
        async with world.sender():
            wanted = {State.SENT: 1, State.ERROR: 2, State.SUSPENDED: 1, State.DEFERRED: 1}
            states = await world.until(lambda states: Counter(states.values()) == wanted)
    assert (states[held], states[later]) == (State.SUSPENDED, State.DEFERRED)


async def test_above_the_limit_messages_wait_unless_told_otherwise(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, limit_per_hour=2)
        await world.post(n=4)
        async with world.sender():
            wanted = {State.SENT: 2, State.DEFERRED: 2}
            await world.until(lambda states: Counter(states.values()) == wanted)
            await world.change_account(limit_behavior="reject")
            wanted = {State.SENT: 2, State.ERROR: 2}
            await world.until(lambda states: Counter(states.values()) == wanted)
