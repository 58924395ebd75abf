"""A TCP proxy that misbehaves on request: delay, throttle, swallow, cut, reset, split into tiny segments.

    async with FaultProxy("127.0.0.1", 25) as proxy:
        connect(proxy.host, proxy.port)
        proxy.to_client.cut_after = 100

Faults take effect at once on connections that are open and on those to come.
"""

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self, TypeVar

CHUNK = 65536

T = TypeVar("T")


@dataclass
class Direction:
    """What happens to the bytes of one direction.

    `delay` seconds before each piece; pieces of at most `segment` bytes; `swallow` passes nothing on, without a
    sign; the connection is reset once `cut_after` more bytes have passed. `when_seen`: `then` is called when what
    this pattern matches has passed.
    """

    delay: float = 0.0
    segment: int | None = None
    swallow: bool = False
    cut_after: int | None = None
    when_seen: bytes | None = None
    then: Callable[[], None] | None = None
    passed: int = 0

    def allowed(self, data: bytes) -> bytes:
        """As much of `data` as may pass; shorter means the connection is to be reset."""
        if self.cut_after is None:
            return data
        data = data[: self.cut_after]
        self.cut_after -= len(data)
        return data


class FaultProxy:
    """Listens on a port of its own. `target` is a host, or the path of a Unix socket when `port` is None."""

    def __init__(self, target: str, port: int | None = None) -> None:
        self._target = (target, port)
        self.host = "127.0.0.1"
        self.port = 0
        self.to_server = Direction()
        self.to_client = Direction()
        self.refusing = False
        self.connections = 0
        self.refused = 0
        self._flows = asyncio.Event()
        self._flows.set()
        self._pairs: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        tasks = list(self._pairs)
        self.reset_all()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    def reset_all(self) -> None:
        """End every connection with RST, on both sides."""
        for task, writers in list(self._pairs.items()):
            for writer in writers:
                _reset(writer)
            task.cancel()

    def go_down(self) -> None:
        """Be as a server that died: no connection lives, none is made."""
        self.refusing = True
        self.reset_all()

    def freeze(self) -> None:
        """Be as a server that is stopped: connections can be made, nothing is lost, and nothing is answered."""
        self._flows.clear()

    def come_back(self) -> None:
        self.refusing = False
        self._flows.set()
        self.to_server = Direction()
        self.to_client = Direction()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            self.refused += 1
            _reset(writer)
            return
        self.connections += 1
        host, port = self._target
        if port is None:
            far_reader, far_writer = await asyncio.open_unix_connection(host)
        else:
            far_reader, far_writer = await asyncio.open_connection(host, port)
        task = asyncio.current_task()
        assert task is not None
        self._pairs[task] = (writer, far_writer)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, far_writer, lambda: self.to_server))
                group.create_task(self._pass(far_reader, writer, lambda: self.to_client))
        except* (ConnectionError, _Cut):
            for one in (writer, far_writer):
                _reset(one)
        except* asyncio.CancelledError:
            pass
        finally:
            del self._pairs[task]
            writer.close()
            far_writer.close()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        direction: Callable[[], Direction],
    ) -> None:
        while data := await reader.read(direction().segment or CHUNK):
            await self._flows.wait()
            way = direction()
            if way.delay:
                await asyncio.sleep(way.delay)
            if way.swallow:
                continue
            allowed = way.allowed(data)
            writer.write(allowed)
            way.passed += len(allowed)
            if way.when_seen is not None and re.search(way.when_seen, data) and way.then is not None:
                way.then()
            await writer.drain()
            if len(allowed) < len(data):
                raise _Cut
        with suppress(OSError):
            writer.write_eof()


@contextmanager
def beside(proxy: FaultProxy) -> Iterator[Callable[[Callable[[], T]], T]]:
    """Runs the proxy in a thread, for tests that have no loop; yields how to have it do something."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def have(done: Callable[[], T]) -> T:
        async def doing() -> T:
            return done()

        return asyncio.run_coroutine_threadsafe(doing(), loop).result(10.0)

    asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result(10.0)
    try:
        yield have
    finally:
        asyncio.run_coroutine_threadsafe(proxy.__aexit__(), loop).result(10.0)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Cut(Exception):
    pass


def _reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    if sock.family != socket.AF_UNIX:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
