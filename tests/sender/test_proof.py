"""What a message carries so that a bounce can prove to be one of it."""

import re
from pathlib import Path

from mailproxy.config import Settings
from mailproxy.model import State, public_pk
from mailproxy.proof import is_proven, numbers_in
from sql.store import SqlStore
from tests.sender.world import World, make_world
from tests.support.smtp import Sink

FIELD = re.compile(rb"^X-Genro-Mail-Proof: (\S+)\r$", re.MULTILINE)


async def _proves(world: World, token: str, id_: str) -> bool:
    view = await world.view(id_)
    key = await world.store.administration.proof_key()
    pk = public_pk(await world.store.fleet.instance(), view.id)
    return is_proven([token], key, pk) and list(numbers_in([token])) == [view.id]


async def test_a_message_carries_its_proof_and_keeps_its_envelope(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    async with Sink(tmp_path / "sink.log", keep=tmp_path) as sink:
        world = await make_world(store, settings, sink.port)
        (id_,) = await world.post()
        async with world.sender():
            await world.all_in(State.SENT)
        (content,) = sink.contents()
        (token,) = FIELD.findall(content)
        assert await _proves(world, token.decode(), id_)
        assert sink.messages()[0].mail_from == "alice@example.org"


async def test_bounces_go_to_the_mailbox_that_is_read_with_the_token_in_the_address(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    bounce = {"bounce_enabled": True, "bounce_return_path": "bounces@example.org"}
    await store.administration.change_instance(bounce, None)
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port)
        (tagged,) = await world.post()
        (own,) = await world.post(content={"return_path": "own@example.org"})
        async with world.sender():
            await world.all_in(State.SENT)
        senders = {message.id: message.mail_from for message in sink.messages()}
        local, _, domain = senders[tagged].partition("@")
        assert (local.partition("+mp-")[0], domain) == ("bounces", "example.org")
        assert await _proves(world, local.partition("+mp-")[2], tagged)
        assert senders[own] == "own@example.org"


async def test_certified_mail_keeps_its_envelope_sender(
    store: SqlStore, settings: Settings, tmp_path: Path
) -> None:
    bounce = {"bounce_enabled": True, "bounce_return_path": "bounces@example.org"}
    await store.administration.change_instance(bounce, None)
    async with Sink(tmp_path / "sink.log") as sink:
        world = await make_world(store, settings, sink.port, is_pec_account=True)
        await world.post()
        async with world.sender():
            await world.all_in(State.SENT)
        assert sink.messages()[0].mail_from == "alice@example.org"


async def test_all_nodes_make_one_key(store: SqlStore) -> None:
    assert await store.administration.proof_key() == await store.administration.proof_key()
