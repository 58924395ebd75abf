"""One connection's bytes: commands go out, whole replies come in, each wait with a deadline of its own."""

import asyncio
from collections.abc import Iterable

from mailproxy.model import Seconds
from mailproxy.outcome import Reply
from workers.sender.replies import Break, parse_reply

_CHUNK = 256 * 1024


class Wire(asyncio.Protocol):
    """Takes over the transport of a connection that is past EHLO, STARTTLS and AUTH.

    Once `broken` is set nothing more is sent or believed. A reply nobody asked for breaks the connection and
    is kept in `unsolicited`: in the middle of a body it is the server's refusal to read on.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.broken: Break | None = None
        self.unsolicited: Reply | None = None
        self._transport = transport
        self._loop = loop
        self._buffer = bytearray()
        self._replies: list[Reply] = []
        self._expected = 0
        self._wanted = 0
        self._paused = False
        self._unsent = 0
        self._waiter: asyncio.Future[None] | None = None
        self._patience: Seconds = 0.0
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        # Drained must mean that the kernel has it all: no intent for bytes that still queue in this process.
        transport.set_write_buffer_limits(high=1, low=0)
        transport.set_protocol(self)

    @property
    def alive(self) -> bool:
        return self.broken is None and not self._transport.is_closing()

    def ask(self, command: bytes, replies: int) -> None:
        """Write `command`, to which that many replies are due."""
        if self.alive:
            self._expected += replies
            self._transport.write(command)

    async def replies(self, count: int, patience: Seconds) -> list[Reply]:
        """The next `count` replies, `patience` being renewed by each; fewer only if the connection broke."""
        self._wanted = count
        while len(self._replies) < count and self.broken is None:
            await self._wait(patience)  # it also ends when what was asked has left this process
        taken = self._replies[:count]
        del self._replies[:count]
        return taken

    async def send(self, body: Iterable[bytes], patience: Seconds) -> bool:
        """Hand all of `body` to the kernel; `patience` is renewed by every byte of progress."""
        for piece in body:
            for start in range(0, len(piece), _CHUNK):
                if not self.alive:
                    return False
                self._transport.write(piece if len(piece) <= _CHUNK else piece[start : start + _CHUNK])
                await self._drain(patience)
        return self.alive

    def abort(self, reason: Break = Break.ABANDONED) -> None:
        """Close at once; what was written and not yet sent is dropped."""
        self.broken = self.broken or reason
        self._stop_timer()
        self._transport.abort()
        self._wake()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self.broken is None and (parsed := parse_reply(self._buffer)):
            if isinstance(parsed, Break):
                self.abort(parsed)
            else:
                reply, length = parsed
                del self._buffer[:length]
                self._accept(reply)
        if len(self._replies) >= self._wanted:
            self._wake()

    def _accept(self, reply: Reply) -> None:
        if self._expected == 0:
            self.unsolicited = reply
            self.abort(Break.UNSOLICITED)
        else:
            self._expected -= 1
            self._replies.append(reply)
            self._deadline = self._loop.time() + self._patience

    def eof_received(self) -> None:
        self.broken = self.broken or Break.CLOSED
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.broken = self.broken or Break.CLOSED
        self._stop_timer()
        self._wake()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    async def _drain(self, patience: Seconds) -> None:
        self._wanted = 1
        while self._paused and self.broken is None:
            self._unsent = self._transport.get_write_buffer_size()
            await self._wait(patience)

    async def _wait(self, patience: Seconds) -> None:
        if self.broken is not None:
            return
        self._patience = patience
        self._deadline = self._loop.time() + patience
        if self._timer is None or self._timer.when() > self._deadline:
            self._stop_timer()
            self._timer = self._loop.call_at(self._deadline, self._tick)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _tick(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self._paused and (unsent := self._transport.get_write_buffer_size()) < self._unsent:
            self._unsent = unsent
            self._deadline = self._loop.time() + self._patience
        if self._loop.time() >= self._deadline:
            self.abort(Break.TIMED_OUT)
        else:
            self._timer = self._loop.call_at(self._deadline, self._tick)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
