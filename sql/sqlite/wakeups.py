"""Datagrams to Unix sockets beside the database: each listener has one, an announcer writes to all."""

import asyncio
import contextlib
import hashlib
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sql.coalesce import Coalesced


class SqliteWakeups:
    def __init__(self, database: Path) -> None:
        self._folder = _folder(database)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._announcer = Coalesced(self._send)

    async def announce(self, topic: str = "queue") -> None:
        self._announcer.ask(topic)

    async def aclose(self) -> None:
        await self._announcer.aclose()
        self._socket.close()

    async def _send(self, topic: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            for entry in list(self._folder.iterdir()):
                self._send_to(entry, topic)

    def _send_to(self, entry: Path, topic: str) -> None:
        try:
            self._socket.sendto(topic.encode(), str(entry))
        except ConnectionRefusedError:
            entry.unlink(missing_ok=True)
        except OSError:
            return

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[AsyncIterator[str]]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{os.getpid()}.{os.urandom(4).hex()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
            heard.setblocking(False)
            heard.bind(str(path))
            try:
                yield _topics(heard)
            finally:
                path.unlink(missing_ok=True)


async def _topics(heard: socket.socket) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    while True:
        yield (await loop.sock_recv(heard, 64)).decode()


def _folder(database: Path) -> Path:
    """Short, since a socket's path may have 107 bytes only, and private to the user."""
    digest = hashlib.sha256(str(database.resolve()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"mailproxy-{os.getuid()}" / digest
