"""A host that a tenant set: not reached inside, told in words, and reached once the admin allows or sets it."""

from pathlib import Path

import pytest

from mailproxy.config import Settings
from mailproxy.model import AccountCondition, State
from sql.store import SqlStore
from tests.sender.world import World, make_world
from tests.support.smtp import Sink

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


async def resting(world: World) -> bool:
    view = await world.store.directory.account(world.tenant, "main")
    assert view is not None
    return view.condition is AccountCondition.BACKING_OFF


async def test_mail_waits_while_its_server_is_out_of_bounds(
    settings: Settings, store: SqlStore, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, host_set_by_tenant=True)
        await world.post()
        async with world.sender():
            while not await resting(world):
                await world.until(lambda states: True)
        view = await store.directory.account(world.tenant, "main")
        assert view is not None
        assert view.reason == "host_not_allowed"
        assert "127.0.0.1 is a loopback address" in (view.cause or "")
        assert sink.opened == 0
        await world.change_account(host_set_by_tenant=False)
        async with world.sender():
            await world.all_in(State.SENT)


async def test_mail_goes_where_the_operator_allows_it(
    settings: Settings, store: SqlStore, tmp_path: Path
) -> None:
    allowing = settings.model_copy(update={"egress_allow": ("127.0.0.1",)})
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, allowing, sink.port, host_set_by_tenant=True)
        await world.post()
        async with world.sender():
            await world.all_in(State.SENT)
