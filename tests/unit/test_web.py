"""HTTP to targets that may not be what they say: addresses are judged, and those judged are connected to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from mailproxy import egress
from mailproxy.demo.endpoint import read_request, reply
from mailproxy.egress import Allowed
from mailproxy.reach import Reach
from mailproxy.web import Answered, Unanswered, Web
from tests.support.resolving import Rebinding
from tests.support.tenant import Endpoint, Manners
from tests.support.tls import Authority

Asking = Callable[..., Any]
HOME = egress.allowed(["127.0.0.1"])


@pytest.fixture
async def endpoint(tmp_path: Path) -> AsyncIterator[Endpoint]:
    async with Endpoint(tmp_path / "calls") as endpoint:
        yield endpoint


@pytest.fixture
async def ask() -> AsyncIterator[Asking]:
    """`await ask(url, reach, guarded=…)`; the client of a reach is kept for the test."""
    async with AsyncExitStack() as stack:
        clients: dict[int, Web] = {}

        async def one(url: str, reach: Reach, *, guarded: bool = True) -> Answered | Unanswered:
            if id(reach) not in clients:
                clients[id(reach)] = Web(reach, connect=5.0)
                stack.push_async_callback(clients[id(reach)].aclose)
            return await clients[id(reach)].exchange(
                "POST",
                url,
                headers={},
                body=b'{"delivery_report":[]}',
                guarded=guarded,
                within=10.0,
                most=100,
            )

        yield one


def at(endpoint: Endpoint, host: str) -> str:
    return f"http://{host}:{endpoint.port}/sync"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::1]"])
async def test_a_guarded_call_does_not_reach_inside(endpoint: Endpoint, ask: Asking, host: str) -> None:
    answer = await ask(at(endpoint, host), Reach())
    assert isinstance(answer, Unanswered)
    assert "GMP_EGRESS_ALLOW" in answer.cause
    assert endpoint.requests == []


async def test_a_name_that_changes_its_mind_is_called_where_it_was_judged(
    endpoint: Endpoint, ask: Asking
) -> None:
    resolver = Rebinding(["127.0.0.1"], ["127.0.0.9"])
    answer = await ask(at(endpoint, "rebind.example.com"), Reach(HOME, resolver))
    assert isinstance(answer, Answered)
    assert resolver.asked == [("rebind.example.com", endpoint.port)]
    assert endpoint.requests[0].headers["host"] == f"rebind.example.com:{endpoint.port}"


async def test_a_name_that_leads_inside_at_the_second_call_is_refused_then(
    endpoint: Endpoint, ask: Asking
) -> None:
    endpoint.behave(Manners(headers={"Connection": "close"}))
    reach = Reach(HOME, Rebinding(["127.0.0.1"], ["10.0.0.1"]))
    assert isinstance(await ask(at(endpoint, "rebind.example.com"), reach), Answered)
    second = await ask(at(endpoint, "rebind.example.com"), reach)
    assert isinstance(second, Unanswered)
    assert "leads to a private address" in second.cause


async def test_a_guarded_call_never_takes_over_an_open_connection(endpoint: Endpoint, ask: Asking) -> None:
    reach = Reach()
    assert isinstance(await ask(at(endpoint, "127.0.0.1"), reach, guarded=False), Answered)
    assert isinstance(await ask(at(endpoint, "127.0.0.1"), reach, guarded=True), Unanswered)
    assert len(endpoint.requests) == 1


async def test_the_next_address_is_tried(endpoint: Endpoint, ask: Asking) -> None:
    allow = egress.allowed(["127.0.0.0/8"])
    resolver = Rebinding(["127.0.0.77", "127.0.0.1"])
    assert isinstance(await ask(at(endpoint, "two.example.com"), Reach(allow, resolver)), Answered)


async def test_everything_may_be_allowed(endpoint: Endpoint, ask: Asking) -> None:
    assert isinstance(await ask(at(endpoint, "localhost"), Reach(Allowed(everything=True))), Answered)


async def test_a_redirect_into_the_house_is_not_followed(endpoint: Endpoint, ask: Asking) -> None:
    endpoint.behave(Manners(status=307, headers={"Location": "http://169.254.169.254/latest/meta-data"}))
    answer = await ask(at(endpoint, "out.example.com"), Reach(HOME, Rebinding(["127.0.0.1"])))
    assert isinstance(answer, Answered)
    assert answer.status == 307


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    reply(writer, 200, b"{}", {"Connection": "close"})
    await writer.drain()
    writer.close()


@pytest.mark.parametrize(("name", "answered"), [("good.example.com", True), ("other.example.com", False)])
async def test_tls_verifies_the_name_and_not_the_address(tmp_path: Path, name: str, answered: bool) -> None:
    authority = Authority()
    tls = authority.server_context(tmp_path, host="good.example.com")
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, ssl=tls)
    web = Web(Reach(HOME, Rebinding(["127.0.0.1"])), connect=5.0, authorities=authority.pem)
    url = f"https://{name}:{server.sockets[0].getsockname()[1]}/"
    try:
        answer = await web.exchange("GET", url, headers={}, guarded=True, within=10.0, most=100)
    finally:
        await web.aclose()
        server.close()
        await server.wait_closed()
    assert isinstance(answer, Answered) is answered, answer
