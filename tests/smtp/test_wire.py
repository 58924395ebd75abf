"""A connection's bytes where the server takes them slowly."""

import asyncio
import socket

import pytest
import uvloop

from workers.sender.wire import Wire

SMALL = 4096


async def _asked_through_a_narrow_connection() -> list[int]:
    gone = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Reads up to the dot, and answers a moment after everything has left the client."""
        await reader.readuntil(b"\r\n.\r\n")
        await asyncio.sleep(0.1)
        writer.write(b"250 2.0.0 Ok\r\n")
        await reader.read()
        writer.close()
        await writer.wait_closed()
        gone.set()

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        listener.bind(("127.0.0.1", 0))
        server = await asyncio.start_server(slow, sock=listener.dup(), limit=1 << 20)
    async with server:
        loop = asyncio.get_running_loop()
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        client.setblocking(False)
        await loop.sock_connect(client, server.sockets[0].getsockname())
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=client)
        wire = Wire(transport, loop)
        wire.ask(b"x" * 200_000 + b"\r\n.\r\n", 1)
        assert transport.get_write_buffer_size(), "all of it left at once: nothing was tested"
        replies = await wire.replies(1, 10.0)
        transport.close()
        await gone.wait()
        return [reply.code for reply in replies]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_reply_is_waited_for_beyond_the_moment_when_all_has_left(run) -> None:  # type: ignore[no-untyped-def]
    assert run(_asked_through_a_narrow_connection()) == [250]
