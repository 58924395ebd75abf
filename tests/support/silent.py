"""A server that takes connections and says nothing, until it is closed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Silent:
    """`url` leads to it; `asked` counts the requests that have begun."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def until_asked(self, times: int = 1) -> None:
        async with asyncio.timeout(20):
            while self.asked < times:
                await asyncio.sleep(0.01)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        if await reader.read(1):
            self.asked += 1

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def silent_server() -> AsyncIterator[Silent]:
    found = Silent()
    server = await asyncio.start_server(found._take, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    found.url = f"http://{host}:{port}"
    try:
        yield found
    finally:
        server.close()
        found.hang_up()
        await server.wait_closed()
