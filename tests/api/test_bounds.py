"""Bodies and connections with limits: too large, too slow, silent, or never read."""

import asyncio
import json
import time

import pytest

from mailproxy.api.bounds import Bounds
from mailproxy.api.connection import MAX_HEADER_OCTETS, BoundedProtocol
from mailproxy.config import Settings
from mailproxy.store import Store
from tests.api.conftest import ADMIN, Api, api_on, message

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)

ADD = "/commands/add-messages"
HEAD = f"POST {ADD} HTTP/1.1\r\nHost: x\r\nX-API-Token: {ADMIN}\r\nContent-Type: application/json\r\n"
PATIENCE = 5.0


class Impatient(BoundedProtocol):
    header_deadline = 0.2
    reading_deadline = 0.2


async def status_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, object]]:
    """The status and body of an answer after which the connection is closed."""
    async with asyncio.timeout(PATIENCE):
        raw = await reader.read()
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    return int(head.split()[1]), json.loads(body)


async def is_cut(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(PATIENCE):
        return await reader.read() == b""


@pytest.mark.bad_input("B2")
async def test_a_body_that_says_it_is_too_large_is_refused_unread(settings: Settings, store: Store) -> None:
    async with api_on(settings, store, bounds=Bounds(max_body=1000, linger=0.1)) as api:
        reader, writer = await api.connect()
        writer.write(f"{HEAD}Content-Length: 1001\r\n\r\n".encode())
        status, body = await status_of(reader)
        assert (status, body["code"]) == (413, "body_too_large")


@pytest.mark.bad_input("B2")
async def test_a_body_in_chunks_is_counted_while_it_is_read(settings: Settings, store: Store) -> None:
    async with api_on(settings, store, bounds=Bounds(max_body=1000, linger=0.1)) as api:
        reader, writer = await api.connect()
        writer.write(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
        writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
        status, body = await status_of(reader)
        assert (status, body["code"]) == (413, "body_too_large")


async def test_a_client_gets_to_read_why_its_large_body_was_refused(settings: Settings, store: Store) -> None:
    async with api_on(settings, store, bounds=Bounds(max_body=1000)) as api:
        answer = await api.admin.post(ADD, content=b"x" * 20_000_000)
        assert answer.status_code == 413
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_a_large_body_without_a_token_is_never_taken_in(settings: Settings, store: Store) -> None:
    async with api_on(settings, store, bounds=Bounds(max_body=1 << 30, linger=0.1)) as api:
        reader, writer = await api.connect()
        writer.write(f"POST {ADD} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".encode())
        status, _ = await status_of(reader)
        assert status == 401


async def test_a_short_body_nobody_read_keeps_the_connection(api: Api) -> None:
    nobody = await api.client()
    reader, writer = await api.connect()
    body = json.dumps({"messages": [message()]}).encode()
    request = f"POST {ADD} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    for _ in range(2):
        writer.write(request)
        async with asyncio.timeout(PATIENCE):
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"401" in head
            assert b"connection: close" not in head.lower()
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
    assert (await nobody.get("/health")).status_code == 200


async def test_a_body_that_stops_arriving_is_cut(settings: Settings, store: Store) -> None:
    async with api_on(settings, store, bounds=Bounds(max_body=1000, stall=0.2, linger=0.1)) as api:
        reader, writer = await api.connect()
        writer.write(f"{HEAD}Content-Length: 100\r\n\r\n{{".encode())
        status, body = await status_of(reader)
        assert (status, body["code"]) == (408, "body_timeout")


async def test_a_slow_body_that_keeps_arriving_is_taken(settings: Settings, store: Store) -> None:
    async with api_on(settings, store, bounds=Bounds(max_body=1000, stall=0.3)) as api:
        reader, writer = await api.connect()
        writer.write(f"{HEAD}Connection: close\r\nContent-Length: 15\r\n\r\n".encode())
        for octet in b'{"messages":[]}':
            writer.write(bytes([octet]))
            await asyncio.sleep(0.03)
        status, body = await status_of(reader)
        assert (status, body["queued"]) == (200, 0)


async def test_silent_and_half_spoken_connections_are_cut_and_others_served(
    settings: Settings, store: Store
) -> None:
    async with api_on(settings, store, protocol=Impatient) as api:
        silent, _ = await api.connect()
        partial, partial_writer = await api.connect()
        partial_writer.write(b"GET /health HTTP/1.1\r\nHost: ")
        second, second_writer = await api.connect()
        second_writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        await second.readuntil(b"}")
        second_writer.write(b"GET /health HT")
        assert await is_cut(silent)
        status, body = await status_of(partial)
        assert (status, body["code"]) == (408, "header_timeout")
        status, _ = await status_of(second)
        assert status == 408
        assert (await api.admin.get("/health")).status_code == 200


async def test_a_dripping_header_is_cut_whatever_it_drips(settings: Settings, store: Store) -> None:
    async with api_on(settings, store, protocol=Impatient) as api:
        reader, writer = await api.connect()
        began = time.monotonic()
        writer.write(b"GET /health HTTP/1.1\r\n")
        while not reader.at_eof() and time.monotonic() - began < PATIENCE:
            writer.write(b"X-A: b\r\n")
            await asyncio.sleep(0.02)
            if reader._buffer:  # type: ignore[attr-defined]  # an answer has come
                break
        status, _ = await status_of(reader)
        assert status == 408


async def test_a_client_that_does_not_read_its_answer_is_cut(settings: Settings, store: Store) -> None:
    async with api_on(settings, store, protocol=Impatient) as api:
        tenant = await api.as_tenant()
        for number in range(20):
            big = [message(f"m{number}", body="x" * 1_000_000)]
            assert (await tenant.post(ADD, json={"messages": big})).json()["queued"] == 1
        others = set(api.server.connections)
        _, writer = await api.connect()
        writer.transport.pause_reading()
        writer.write(
            f"GET /messages?tenant_id=acme HTTP/1.1\r\nHost: x\r\nX-API-Token: {ADMIN}\r\n\r\n".encode()
        )
        async with asyncio.timeout(PATIENCE):
            while not any(one.transport.get_write_buffer_size() for one in api.server.connections - others):
                await asyncio.sleep(0.01)
            while api.server.connections - others:
                await asyncio.sleep(0.01)


async def test_a_header_without_end_is_refused(api: Api) -> None:
    reader, writer = await api.connect()
    writer.write(b"GET /health HTTP/1.1\r\nX-Long: " + b"x" * (MAX_HEADER_OCTETS + 1))
    status, body = await status_of(reader)
    assert (status, body["code"]) == (431, "header_too_large")


@pytest.mark.bad_input("B34")
async def test_what_is_not_http_is_400_in_the_common_shape(api: Api) -> None:
    for raw in (
        b"HELO example.com\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n folded\r\n\x00\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        reader, writer = await api.connect()
        writer.write(raw)
        status, body = await status_of(reader)
        assert (status, body["code"]) == (400, "invalid_http"), raw
        assert set(body) == {"detail", "code", "request_id"}


async def test_many_half_open_connections_do_not_slow_others(settings: Settings, store: Store) -> None:
    async with api_on(settings, store) as api:
        for _ in range(300):
            _, writer = await api.connect()
            writer.write(b"GET /health HTTP/1.1\r\nX: ")
        took = []
        for _ in range(20):
            began = time.perf_counter()
            assert (await api.admin.get("/health")).status_code == 200
            took.append(time.perf_counter() - began)
        assert sorted(took)[10] < 0.1


async def test_a_client_that_goes_away_in_its_body_disturbs_nobody(api: Api) -> None:
    _, writer = await api.connect()
    writer.write(f"{HEAD}Content-Length: 100\r\n\r\n{{".encode())
    await writer.drain()
    writer.transport.abort()
    assert (await api.admin.get("/status")).status_code == 200
