"""Leading edge at once, then at most one hint per topic and interval."""

import asyncio
from collections.abc import Awaitable, Callable

INTERVAL_S = 0.1


class Coalesced:
    """Calls `announce(topic)` for each topic asked for; never more than once in `INTERVAL_S`."""

    def __init__(self, announce: Callable[[str], Awaitable[None]]) -> None:
        self._announce = announce
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()

    def ask(self, topic: str) -> None:
        if topic in self._tasks:
            self._again.add(topic)
        else:
            self._tasks[topic] = asyncio.get_running_loop().create_task(self._run(topic))

    async def _run(self, topic: str) -> None:
        try:
            while True:
                await self._announce(topic)
                await asyncio.sleep(INTERVAL_S)
                if topic not in self._again:
                    return
                self._again.discard(topic)
        finally:
            del self._tasks[topic]

    async def aclose(self) -> None:
        """A hint still owed is given up: whoever waits for it polls as well."""
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
