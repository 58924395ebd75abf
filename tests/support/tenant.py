"""A tenant's HTTP endpoint with every kind of manners, in this process or as one of its own.

A script is a list of manners, one a call; the last one stays. As a program it takes the script as JSON:
`python -m tests.support.tenant LOG '[{"status": 500}, {}]'` and prints its port.
"""

import argparse
import asyncio
import json
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailproxy.demo.endpoint import Callback, Request, read_callbacks, reply
from mailproxy.demo.endpoint import Endpoint as PlainEndpoint

__all__ = ["Callback", "Endpoint", "Manners", "read_callbacks"]


@dataclass(frozen=True, slots=True)
class Manners:
    """How to answer one call: `body` is sent as it is, `says` as JSON.

    `hang` answers nothing, `drip` sends a byte of the body
    every so many seconds, `reset` sends RST instead of an answer, `cut` closes in the middle of the body.
    """

    status: int = 200
    says: Any = field(default_factory=lambda: {"ok": True})
    body: str | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    hang: bool = False
    drip: float | None = None
    reset: bool = False
    cut: bool = False


class Endpoint(PlainEndpoint):
    """Answers call after call as `script` says; `script` may be replaced at any time.

    `requests` holds what came, byte for byte.
    """

    def __init__(self, log: Path, script: Sequence[Manners] = (), *, port: int = 0) -> None:
        super().__init__(log, port=port)
        self.script = list(script)
        self.requests: list[Request] = []

    def behave(self, *script: Manners) -> None:
        self.script = list(script)

    def items(self) -> list[Mapping[str, Any]]:
        return [item for call in self.calls() for item in call.items]

    async def answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        self.requests.append(request)
        manners = (
            (self.script.pop(0) if len(self.script) > 1 else self.script[0]) if self.script else Manners()
        )
        await asyncio.sleep(manners.delay)
        if manners.hang:
            await asyncio.Event().wait()
        if manners.reset:
            _reset(writer)
            return False
        body = manners.body if manners.body is not None else json.dumps(manners.says)
        content = body.encode() if isinstance(body, str) else body
        if manners.cut:
            reply(
                writer, manners.status, b"", {"Content-Length": str(len(content) + 1)} | dict(manners.headers)
            )
            writer.write(content)
            return False
        if manners.drip is None:
            reply(writer, manners.status, content, manners.headers)
        else:
            reply(writer, manners.status, b"", {"Content-Length": str(len(content))} | dict(manners.headers))
            for byte in content:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(manners.drip)
        return True


def _reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _serve(log: Path, script: Sequence[Manners], port: int) -> None:
    async with Endpoint(log, script, port=port) as endpoint:
        print(endpoint.port, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("log", type=Path)
    parser.add_argument("script", nargs="?", default="[]")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    script = [Manners(**manners) for manners in json.loads(arguments.script)]
    asyncio.run(_serve(arguments.log, script, arguments.port))


if __name__ == "__main__":
    main()
