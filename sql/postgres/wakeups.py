"""NOTIFY after the commit, LISTEN where the connection allows it: hints that may be lost."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from sql.coalesce import Coalesced

CHANNEL = "mailproxy"


class PostgresWakeups:
    """One connection of its own to announce on, made when first needed; listening opens another."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.AsyncConnection[tuple[str]] | None = None
        self._announcing = asyncio.Lock()
        self._announcer = Coalesced(self._notify)

    async def announce(self, topic: str = "queue") -> None:
        self._announcer.ask(topic)

    async def aclose(self) -> None:
        await self._announcer.aclose()
        if self._connection is not None:
            await self._connection.close()

    async def _notify(self, topic: str) -> None:
        async with self._announcing:
            await self._send(topic)

    async def _send(self, topic: str) -> None:
        try:
            if self._connection is None or self._connection.closed:
                self._connection = await _open(self._url)
            async with asyncio.timeout(2.0):
                await self._connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, topic))
        except (psycopg.Error, TimeoutError):
            if self._connection is not None:
                await self._connection.close()
            self._connection = None

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[AsyncIterator[str]]:
        topics = self._topics()
        try:
            yield topics
        finally:
            await topics.aclose()

    async def _topics(self) -> AsyncGenerator[str, None]:
        while True:
            try:
                async with await _open(self._url) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    async for notification in connection.notifies():
                        yield notification.payload
            except psycopg.Error:
                await asyncio.sleep(1.0)


async def _open(url: str) -> psycopg.AsyncConnection[tuple[str]]:
    return await psycopg.AsyncConnection.connect(
        url, autocommit=True, connect_timeout=5, prepare_threshold=None, keepalives_idle=10
    )
