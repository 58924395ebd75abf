"""The tenants' application, simulated: it takes delivery reports, serves attachments, and wants not to be disturbed.

`python -m loadtests.application LOG` prints its port and runs until it is told to stop. A tenant's base URL ends in
its id. Every tenth call for it is answered with `next_sync_after`, a minute from now: calls without events have to
stop until then. `GET /disturbed` says how many came all the same.
"""

import argparse
import asyncio
import json
import signal
import time
from collections import Counter
from pathlib import Path

import uvloop

from mailproxy.demo.endpoint import Endpoint, Request, reply
from mailproxy.model import Instant, Seconds

SYNC_PATH = "/mail-proxy/sync"
ATTACHMENT_PATH = "/mail-proxy/attachments"
DISTURBED_PATH = "/disturbed"
MUTED: Seconds = 60.0
DOCUMENT = b"%PDF-1.4\n" + b"0123456789abcdef" * 4096


class Application(Endpoint):
    """Counts what it is told, by tenant; an empty call while that one is muted is a fault of the service."""

    def __init__(self, log: Path) -> None:
        super().__init__(log)
        self._calls: Counter[str] = Counter()
        self._muted_until: dict[str, Instant] = {}
        self._disturbed = 0

    def record(self, request: Request) -> None:
        if request.path.endswith(SYNC_PATH):
            super().record(request)

    async def answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        if request.path.endswith(ATTACHMENT_PATH):
            reply(writer, 200, DOCUMENT, {"Content-Type": "application/pdf"})
        elif request.path.endswith(SYNC_PATH):
            tenant = request.path.removesuffix(SYNC_PATH)
            reply(writer, 200, json.dumps(self._acknowledgement(tenant, json.loads(request.body))).encode())
        elif request.path == DISTURBED_PATH:
            reply(writer, 200, json.dumps(self._disturbed).encode())
        else:
            reply(writer, 404, b'{"detail":"not found"}')
        return True

    def _acknowledgement(self, tenant: str, call: dict[str, list[object]]) -> dict[str, object]:
        now = time.time()
        if not call["delivery_report"] and now < self._muted_until.get(tenant, 0.0):
            self._disturbed += 1
        self._calls[tenant] += 1
        if self._calls[tenant] % 10:
            return {"ok": True}
        self._muted_until[tenant] = now + MUTED
        return {"ok": True, "next_sync_after": self._muted_until[tenant]}


async def _serve(log: Path) -> None:
    async with Application(log) as application:
        print(application.port, flush=True)
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        await stopped.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("log", type=Path)
    uvloop.run(_serve(parser.parse_args().log))


if __name__ == "__main__":
    main()
