"""What a sender does with messages, seen at the server and in the store."""

from pathlib import Path

from mailproxy.config import Settings
from mailproxy.model import State
from sql.store import SqlStore
from tests.sender.world import make_world
from tests.support.smtp import Sink


async def test_a_message_arrives_once(store: SqlStore, settings: Settings, tmp_path: Path) -> None:
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port)
        ids = await world.post(n=25)
        async with world.sender():
            await world.all_in(State.SENT)
        assert sorted(m.id for m in sink.messages()) == sorted(ids)
