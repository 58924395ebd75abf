"""A process that claims, intends and settles until nothing is left; run by test_claimers.

Says `ready`, waits for a line, then prints one a message: its client id and when its intent had returned.
"""

import asyncio
import json
import random
import sys
import time
from dataclasses import asdict, dataclass

from mailproxy import config
from mailproxy.model import AccountPk, Epoch
from sql.open import open_store
from sql.store import SqlStore
from tests.sql.conftest import Sender, back, sent


@dataclass(frozen=True)
class Claimer:
    """Its share of the work: a slot of each account, claims of `batch`, up to `pause` seconds before an intent."""

    environ: dict[str, str]
    accounts: list[AccountPk]
    slot: int
    batch: int = 17
    pause: float = 0.0

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    async def run(self) -> None:
        store = await open_store(config.load(self.environ), role="claimer")
        try:
            epoch = await store.fleet.register(f"claimer-{self.slot}", "node", "sender")
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            await asyncio.gather(*(self._drain(store, epoch, account) for account in self.accounts))
        finally:
            await store.aclose()

    async def _drain(self, store: SqlStore, epoch: Epoch, account: AccountPk) -> None:
        assert await store.queue.take_lease(account, self.slot, epoch=epoch, ttl=600.0)
        sender = Sender(store, account, epoch, self.slot)
        chance = random.Random(self.slot)
        while True:
            claim = await store.queue.claim(account, self.slot, epoch=epoch, limit=self.batch)
            assert not claim.lease_lost
            if not claim.messages and claim.wait is None:
                return
            if not claim.messages:
                await asyncio.sleep(min(claim.wait or 0.0, 0.5))
                continue
            await asyncio.sleep(chance.uniform(0, self.pause))
            granted = await sender.intend(*claim.messages, limited=claim.limited)
            at = time.time()
            for message in claim.messages:
                if message.id in granted:
                    print(message.client_id, at)
            await sender.settle(
                *(sent(m) if m.id in granted else back(m, refund=True) for m in claim.messages)
            )


if __name__ == "__main__":
    asyncio.run(Claimer(**json.loads(sys.argv[1])).run())
