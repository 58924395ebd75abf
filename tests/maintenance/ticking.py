"""A maintenance process with one chore a second, which writes a line to a file: `… FILE`; SIGTERM ends it.

With `FILE die` the chore kills the process with SIGKILL once the line is written.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from uuid import uuid4

from mailproxy import config, log
from mailproxy.config import Settings
from mailproxy.store import Store
from sql.open import open_store
from workers.housekeeping import Scheduled
from workers.maintenance import keep_house


async def work(written: Path, *, die: bool) -> int | None:
    async def write(store: Store, settings: Settings) -> int:
        with written.open("a") as file:
            file.write(f"{os.getpid()}\n")
        if die:
            os.kill(os.getpid(), signal.SIGKILL)
        return 1

    settings = config.load(os.environ)
    log.set_up("INFO", "json")
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    store = await open_store(settings, role="maintenance")
    try:
        epoch = await store.fleet.register(str(uuid4()), "node", "maintenance")
        return await keep_house(store, settings, epoch, [Scheduled("write", 1, write)], stopping)
    finally:
        await store.aclose()


if __name__ == "__main__":
    sys.exit(asyncio.run(work(Path(sys.argv[1]), die="die" in sys.argv[2:])))
