"""An account whose server shows a certificate of an authority of its own, from refusal to delivery."""

from pathlib import Path

import pytest

from mailproxy.config import Settings
from mailproxy.model import AccountCondition, State
from sql.store import SqlStore
from tests.sender.world import make_world
from tests.support.smtp import Sink
from tests.support.tls import Authority


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_mail_waits_for_the_right_authority_and_goes_once_it_is_set(
    settings: Settings, store: SqlStore, tmp_path: Path
) -> None:
    ours, theirs = Authority(), Authority()
    async with Sink(tmp_path / "sink.log", tls=ours.server_context(tmp_path), user="u", password="p") as sink:
        world = await make_world(store, settings, sink.port, user="u", password="p", tls_ca=theirs.pem)
        await world.change_account(use_tls=True)
        await world.post()
        async with world.sender():
            while (view := await store.directory.account(world.tenant, "main")) is None or (
                view.condition is not AccountCondition.BACKING_OFF
            ):
                await world.until(lambda states: True)
        assert view.reason == "tls"
        assert "certificate verify failed" in (view.cause or "")
        assert not any(command.startswith("AUTH") for command in sink.commands)
        await world.change_account(tls_ca=ours.pem)
        async with world.sender():
            await world.all_in(State.SENT)
    assert len(sink.messages()) == 1
