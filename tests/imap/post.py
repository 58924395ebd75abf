"""A tenant whose messages were sent, a mailbox, and readers of it in this process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

from mailproxy import egress, payload
from mailproxy.config import Settings
from mailproxy.inbound import Ours
from mailproxy.model import AccountPk, EventType, MessageId, TenantPk, public_pk
from mailproxy.proof import token_of
from mailproxy.reach import Reach
from mailproxy.records import AccountWrite, TenantWrite
from mailproxy.store import Store
from sql.store import SqlStore
from tests.sql.conftest import Sender, World, sent
from tests.support.imap import Imap
from workers.imap.loop import Reader, Terms

OWNERS = count(1)
PROMPT = Terms(look=0.05, beat=0.3, lease=5.0, rest=lambda fails, chance: 0.05, refused=0.05)


@dataclass
class Post:
    """The instance's mailbox is `imap`'s inbox."""

    world: World
    settings: Settings
    imap: Imap
    ours: Ours
    sender: Sender | None = None
    numbers: dict[str, MessageId] = field(default_factory=dict)

    @property
    def store(self) -> SqlStore:
        return self.world.store

    async def sent(self, id_: str, *to: str, header_id: str | None = None) -> str:
        """Send a message as a sender does; its token."""
        fields = {"id": id_, "from": "alice@example.org", "to": list(to), "subject": "s", "body": "b"}
        await self.world.post(id_, payload=payload.encode(fields), header_id=header_id)
        self.sender = self.sender or await self.world.sender("test/sender")
        (claimed,) = await self.sender.authorised()
        await self.sender.settle(sent(claimed))
        self.numbers[id_] = claimed.id
        return self.token(claimed.id)

    def token(self, message: MessageId) -> str:
        return token_of(self.ours.proof_key, public_pk(self.ours.instance, message), message)

    async def events(self, id_: str) -> list[EventType]:
        return [kind for kind in await self.world.events(id_) if kind is not EventType.SENT]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.02)

    async def until_events(self, id_: str, *wanted: EventType) -> None:
        async with asyncio.timeout(20):
            while await self.events(id_) != list(wanted):
                await asyncio.sleep(0.02)

    async def until_read(self, uid: int) -> None:
        """Until the mailbox was read up to this mail."""
        async with asyncio.timeout(20):
            while await self.last_uid() < uid:
                await asyncio.sleep(0.02)

    async def last_uid(self) -> int:
        found = await self.store.inbound.health(None)
        return found.last_uid if found else 0

    @asynccontextmanager
    async def reader(
        self,
        *,
        terms: Terms = PROMPT,
        store: Store | None = None,
        succeeds: tuple[str, ...] = (),
        at: Callable[[str], None] = lambda step: None,
    ) -> AsyncIterator[Reader]:
        epoch = await self.world.process(f"test/imap.{next(OWNERS)}", role="imap")
        threads = ThreadPoolExecutor(8)
        reader = Reader(
            store=store or self.store,
            settings=self.settings,
            epoch=epoch,
            ours=self.ours,
            reach=Reach(egress.allowed(self.settings.egress_allow)),
            threads=threads,
            terms=terms,
            succeeds=succeeds,
            at=at,
            chance=lambda: 0.0,
        )
        stopping = asyncio.Event()
        running = asyncio.create_task(reader.run(stopping))
        try:
            yield reader
        finally:
            stopping.set()
            await running
            threads.shutdown()

    async def change(self, **bounce: object) -> None:
        await self.store.administration.change_instance(
            {f"bounce_{name}": value for name, value in bounce.items()}, None
        )
        await self.store.wakeups.announce("bounces")


async def make_post(store: SqlStore, settings: Settings, imap: Imap, **bounce: object) -> Post:
    await store.directory.put_tenant(TenantWrite(id="acme", client_base_url="http://127.0.0.1:1"), None, None)
    tenant = await store.directory.tenant("acme")
    assert tenant is not None
    account = await store.directory.put_account(tenant.pk, AccountWrite(id="main", host="127.0.0.1", port=25))
    world = World(store, TenantPk(tenant.pk), AccountPk(account))
    ours = Ours(await store.fleet.instance(), await store.administration.proof_key())
    values = {
        "enabled": True,
        "imap_host": "127.0.0.1",
        "imap_port": imap.port,
        "imap_user": imap.login[0],
        "imap_ssl": False,
        "poll_interval": 1,
    } | bounce
    await store.administration.change_instance(
        {f"bounce_{name}": value for name, value in values.items()}, imap.login[1]
    )
    return Post(world, settings, imap, ours)
