"""The limit program: the least Python that does the mandatory work of a message, and nothing else.

The same statements (enqueue, claim, intent, finish) with the same durability, the same SMTP dialogue into the same
sink; no framework, no API, no checks, no retries, no metrics, no reports. Two processes, as in the product:
`send DATABASE PORT` prints tenant and account, `enqueue DATABASE TENANT ACCOUNT PREFIX COUNT` waits for a line
on stdin and prints when it began.
"""

import argparse
import asyncio
import base64
import json
import sys
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import uvloop

from loadtests import driver
from loadtests.rawsql import Raw, Row
from mailproxy import config
from mailproxy.config import database_at
from mailproxy.looks import FROM_START
from mailproxy.records import AccountWrite, TenantWrite
from sql import looks, migrate
from sql.open import open_store

CLAIM = 200
LOW = 100
BATCH = 100
FINISH_EVERY = 0.03
LOOK_AGAIN = 0.005
DETAIL = '{"attempt":1,"code":250,"enhanced":"2.0.0","reply":"2.0.0 Ok: queued"}'


class Sender:
    """Claims ahead, groups intents and finishes as the product does."""

    def __init__(self, address: str, account: int, epoch: int) -> None:
        self._claims, self._intents, self._finishes = (Raw(database_at(address)) for _ in range(3))
        self._threads = [ThreadPoolExecutor(1) for _ in range(3)]
        self._whose = {
            "account": account,
            "accounts": [account],
            "slot": 0,
            "epoch": epoch,
            "at": None,
            "longest": 1 << 17,
            **looks.since(FROM_START),
        }
        self._ready: deque[Row] = deque()
        self._more = asyncio.Event()
        self._asked: list[tuple[int, asyncio.Future[bool]]] = []
        self._asking = False
        self._done: list[tuple[int, int, int]] = []

    async def run(self, port: int) -> None:
        lines = [self._line(port) for _ in range(driver.CONNECTIONS)]
        await asyncio.gather(self._claim(), self._finish(), *lines)

    async def _claim(self) -> None:
        wanted = self._whose | {"limit": CLAIM}
        loop = asyncio.get_running_loop()
        while True:
            if len(self._ready) > LOW:
                await asyncio.sleep(LOOK_AGAIN)
                continue
            found = await loop.run_in_executor(
                self._threads[0],
                self._claims.transact,
                [("claim_lock", wanted, ()), ("limits_lock", wanted, ()), ("claim", wanted, ())],
            )
            self._ready.extend(found)
            self._more.set()
            if not found:
                await asyncio.sleep(LOOK_AGAIN)

    async def _line(self, port: int) -> None:
        """One connection: pipelined envelope, body, intent, dot."""
        loop = asyncio.get_running_loop()
        transport, dialogue = await loop.create_connection(Dialogue, "127.0.0.1", port)
        await dialogue.replies(1)
        transport.write(b"EHLO limit.invalid\r\n")
        await dialogue.replies(1)
        while True:
            while not self._ready:
                self._more.clear()
                await self._more.wait()
            row = self._ready.popleft()
            recipient, data = compose(row)
            transport.write(
                b"MAIL FROM:<bench@example.org> SIZE=%d\r\nRCPT TO:<%s>\r\nDATA\r\n" % (len(data), recipient)
            )
            await dialogue.replies(3)
            transport.write(data)
            if await self._intend(row[0]):
                transport.write(b".\r\n")
                await dialogue.replies(1)
                self._done.append((row[0], row[1], row[4]))

    async def _intend(self, message: int) -> bool:
        granted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asked.append((message, granted))
        if not self._asking:
            self._asking = True
            asyncio.ensure_future(self._commit_intents())  # noqa: RUF006 the loop runs until it is killed
        return await granted

    async def _commit_intents(self) -> None:
        while self._asked:
            group, self._asked = self._asked, []
            wanted = self._whose | {"ids": [message for message, _ in group]}
            found = await asyncio.get_running_loop().run_in_executor(
                self._threads[1],
                self._intents.transact,
                [("suspension_shared", {}, ()), ("intend", wanted, ())],
            )
            granted = {row[0] for row in found}
            for message, answer in group:
                answer.set_result(message in granted)
        self._asking = False

    async def _finish(self) -> None:
        while True:
            await asyncio.sleep(FINISH_EVERY)
            group, self._done = self._done, []
            if not group:
                continue
            sent = {"status": 1, "kind": "sent", "error": None, "detail": DETAIL}
            rows = [
                {"id": one, "revision": revision, "claim": claim, "refund": 0} | sent
                for one, revision, claim in group
            ]
            wanted = self._whose | {"ids": [one for one, _, _ in group], "fallback": False}
            await asyncio.get_running_loop().run_in_executor(
                self._threads[2], self._finishes.transact, [("finish", wanted, rows)]
            )


class Dialogue(asyncio.Protocol):
    """Counts complete replies; whatever they say, the sink of the bench says yes."""

    def __init__(self) -> None:
        self._buffer = b""
        self._have = 0
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None

    async def replies(self, count: int) -> None:
        self._wanted = count
        if self._have < count:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self._have -= count

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\r\n")
        for line in lines:
            if line[:1] not in b"23":
                raise RuntimeError(f"the sink says {line!r}")
            self._have += line[3:4] == b" "
        if self._waiter is not None and self._have >= self._wanted:
            self._waiter.set_result(None)
            self._waiter = None


def compose(row: Row) -> tuple[bytes, bytes]:
    """Recipient and wire form of a claimed row, for plain ASCII mail that needs no dot-stuffing."""
    content = json.loads(row[12])
    head = (
        f"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nFrom: {content['from']}\r\nTo: {content['to'][0]}\r\n"
        f"Subject: {content['subject']}\r\nMessage-ID: <{row[0]}@example.org>\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\nX-Genro-Mail-ID: {content['id']}\r\n\r\n"
    )
    text = content["body"].replace("\n", "\r\n")
    return content["to"][0].encode(), f"{head}{text}".encode() + (b"" if text.endswith("\r\n") else b"\r\n")


def enqueue(address: str, tenant: int, account: int, wanted: Sequence[str]) -> None:
    raw = Raw(database_at(address))
    groups = [
        [_row(client_id, account) for client_id in wanted[start : start + BATCH]]
        for start in range(0, len(wanted), BATCH)
    ]
    print("ready", flush=True)
    sys.stdin.readline()
    print(time.time(), flush=True)
    whose = {"tenant": tenant, "fallback": False, "accounts": [account]}
    former = [("enqueue_gate", {"accounts": [account]}, ()), ("enqueue_former", {}, ())]
    for rows in groups:
        raw.transact(
            former,
            lambda found, rows=rows: [("enqueue", whose | {"former": found[0][0]}, rows)],
        )
    print(time.time(), flush=True)


def _row(client_id: str, account: int) -> dict[str, object]:
    message = driver.message(client_id)
    payload = json.dumps(
        {name: value for name, value in message.items() if name != "account_id"} | {"to": [message["to"]]}
    )
    return {
        "client_id": client_id,
        "account_pk": account,
        "priority": 2,
        "batch_code": None,
        "due_at": None,
        "expires_at": None,
        "max_age": 432000.0,
        "error": None,
        "header_id": None,
        "payload": payload,
    }


async def send(address: str, port: int) -> None:
    """Make schema, tenant, account and lease, which is not part of the work measured, then send for ever."""
    environ = {"GMP_DB_PATH": address, "MAIL_PROXY_ENCRYPTION_KEY": base64.b64encode(b"k" * 32).decode()}
    settings = config.load(environ)
    migrate.migrate(settings.database)
    store = await open_store(settings, role="limit")
    await store.directory.put_tenant(TenantWrite(id="limit", client_base_url="http://127.0.0.1:1"), None, "")
    tenant = await store.directory.tenant("limit")
    assert tenant is not None
    account = await store.directory.put_account(
        tenant.pk, AccountWrite(id="relay", host="127.0.0.1", port=port)
    )
    epoch = await store.fleet.register("limit", "limit", "sender")
    await store.queue.take_lease(account, 0, epoch=epoch, ttl=3600.0)
    await store.aclose()
    print(tenant.pk, account, flush=True)
    await Sender(address, account, epoch).run(port)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["send", "enqueue"])
    parser.add_argument("database")
    parser.add_argument("rest", nargs="*")
    given = parser.parse_args()
    if given.role == "send":
        uvloop.run(send(given.database, int(given.rest[0])))
    else:
        tenant, account, prefix, count = given.rest
        enqueue(given.database, int(tenant), int(account), driver.ids(prefix, int(count)))


if __name__ == "__main__":
    main()
