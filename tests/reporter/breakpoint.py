"""A reporter that kills itself with SIGKILL when it comes to a step: `python -m tests.reporter.breakpoint STEP`.

Without a step it works until it is killed from outside.
"""

import asyncio
import os
import signal
import sys
from dataclasses import replace
from uuid import uuid4

from mailproxy import config
from sql.open import open_store
from tests.reporter.conftest import TERMS
from workers.reporter.callback import Caller
from workers.reporter.loop import Reporter


async def work(last_step: str | None) -> None:
    def die_there(step: str) -> None:
        if step == last_step:
            os.kill(os.getpid(), signal.SIGKILL)

    store = await open_store(config.load(os.environ), role="reporter")
    caller = Caller(await store.fleet.instance())
    epoch = await store.fleet.register(str(uuid4()), "node", "reporter")
    reporter = Reporter(store, caller, epoch, replace(TERMS, lease=1.0), at=die_there)
    await reporter.run(asyncio.Event(), lambda: 0.0)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1] if len(sys.argv) > 1 else None))
