"""A reader of mailboxes that kills itself at a step: `python -m tests.imap.breakpoint STEP`."""

import asyncio
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

from mailproxy import config
from mailproxy.inbound import Ours
from mailproxy.reach import Reach
from sql.open import open_store
from tests.imap.post import PROMPT
from workers.imap.loop import Reader


async def work(last_step: str) -> None:
    def die_there(step: str) -> None:
        if step == last_step:
            os.kill(os.getpid(), signal.SIGKILL)

    settings = config.load(os.environ)
    store = await open_store(settings, role="imap")
    ours = Ours(await store.fleet.instance(), await store.administration.proof_key())
    epoch = await store.fleet.register(str(uuid4()), "node", "imap")
    terms = replace(PROMPT, lease=1.0)
    reader = Reader(store, settings, epoch, ours, Reach(), ThreadPoolExecutor(4), terms, at=die_there)
    await reader.run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
