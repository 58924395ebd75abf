"""A simulated tenant application: it takes delivery reports, serves attachments, and does not want to be disturbed.

`python -m loadtests.application LOG` prints its port and runs until it is told to stop. Every tenth call is
answered with `next_sync_after`, a minute from now: calls without events have to stop until then.
"""

import argparse
import asyncio
import json
import signal
import time
from pathlib import Path

import uvloop

from mailproxy.demo.endpoint import Endpoint, Request, reply
from mailproxy.model import Seconds

SYNC_PATH = "/mail-proxy/sync"
ATTACHMENT_PATH = "/mail-proxy/attachments"
MUTED: Seconds = 60.0
DOCUMENT = b"%PDF-1.4\n" + b"0123456789abcdef" * 4096


class Application(Endpoint):
    """Counts what it is told; an empty call while it is muted is a fault of the service."""

    def __init__(self, log: Path) -> None:
        super().__init__(log)
        self._calls = 0
        self._muted_until = 0.0
        self.disturbed = 0

    def record(self, request: Request) -> None:
        if request.path == SYNC_PATH:
            super().record(request)

    async def answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        if request.path == ATTACHMENT_PATH:
            reply(writer, 200, DOCUMENT, {"Content-Type": "application/pdf"})
        elif request.path == SYNC_PATH:
            reply(writer, 200, json.dumps(self._acknowledgement(json.loads(request.body))).encode())
        else:
            reply(writer, 404, b'{"detail":"not found"}')
        return True

    def _acknowledgement(self, call: dict[str, list[object]]) -> dict[str, object]:
        now = time.time()
        if not call["delivery_report"] and now < self._muted_until:
            self.disturbed += 1
        self._calls += 1
        if self._calls % 10:
            return {"ok": True}
        self._muted_until = now + MUTED
        return {"ok": True, "next_sync_after": self._muted_until}


async def _serve(log: Path) -> None:
    async with Application(log) as application:
        print(application.port, flush=True)
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        await stopped.wait()
        print(json.dumps({"disturbed": application.disturbed}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("log", type=Path)
    uvloop.run(_serve(parser.parse_args().log))


if __name__ == "__main__":
    main()
