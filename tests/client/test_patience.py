"""When a call is repeated, against servers that refuse, break off or are not there."""

from collections.abc import Callable
from email.utils import formatdate

import pytest

from mailproxy.client import (
    AnswerLost,
    Conflict,
    NotFound,
    Patience,
    ServerError,
    TooMany,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
from mailproxy.client.patience import delay
from tests.api.conftest import Api, message
from tests.client.conftest import DROP, Answer, Scripted, Twin

Connect = Callable[..., Twin]
STATUS = Answer(200, {"ok": True, "active": True, "pending": 0})
ADDED = Answer(200, {"ok": True, "queued": 1, "accepted": [{"id": "m1", "pk": "x"}], "rejected": []})


def refused(status: int, code: str = "code", retry_after: str | None = None, **headers: str) -> Answer:
    fields = headers | ({"Retry-After": retry_after} if retry_after else {})
    return Answer(status, {"detail": "Not now", "code": code, "request_id": "r-1"}, fields)


@pytest.mark.parametrize(
    "first", [refused(503, retry_after="0"), refused(429), refused(502), Answer(504, b"<html>"), DROP]
)
async def test_what_fails_for_a_moment_is_repeated(first: Answer | None, connect: Connect) -> None:
    async with Scripted([first, first, STATUS]) as server:
        assert (await connect(server.port).do(lambda c: c.status())).active
        assert len(server.requests) == 3


async def test_messages_are_added_again_under_the_same_key(connect: Connect) -> None:
    under_way = refused(409, "idempotency_in_flight")
    async with Scripted([DROP, under_way, refused(503), refused(503, "commit_unknown"), ADDED]) as server:
        tenant = connect(server.port)
        assert (await tenant.do(lambda c: c.messages.add(message("m1")))).queued == 1
        keys = {request.headers["idempotency-key"] for request in server.requests}
        assert (len(server.requests), len(keys)) == (5, 1)
        assert len({request.body for request in server.requests}) == 1
        await tenant.do(lambda c: c.messages.add(message("m1")))
        assert server.requests[-1].headers["idempotency-key"] not in keys
        await tenant.do(lambda c: c.messages.add(message("m1"), idempotency_key="mine"))
        assert server.requests[-1].headers["idempotency-key"] == "mine"


@pytest.mark.parametrize("first", [DROP, refused(502), refused(503, "commit_unknown")])
async def test_a_key_that_may_have_been_made_is_not_made_again(
    first: Answer | None, connect: Connect
) -> None:
    async with Scripted([first, Answer(200, {"ok": True, "api_key": "k"})]) as server:
        with pytest.raises((AnswerLost, ServerError)):
            await connect(server.port).do(lambda c: c.tenants.new_key("acme"))
        assert len(server.requests) == 1


async def test_what_was_certainly_not_done_is_repeated_whatever_it_is(connect: Connect) -> None:
    async with Scripted([refused(503), Answer(200, {"ok": True, "api_key": "k"})]) as server:
        assert await connect(server.port).do(lambda c: c.tenants.new_key("acme")) == "k"


async def test_a_deletion_whose_answer_was_lost_is_no_failure(connect: Connect) -> None:
    async with Scripted([DROP, refused(404, "tenant_not_found")]) as server:
        await connect(server.port).do(lambda c: c.tenants.delete("acme"))
    async with Scripted([refused(404, "tenant_not_found")]) as server:
        with pytest.raises(NotFound):
            await connect(server.port).do(lambda c: c.tenants.delete("acme"))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415, 422, 500])
async def test_what_will_not_change_is_not_repeated(status: int, connect: Connect) -> None:
    async with Scripted([refused(status, "no")]) as server:
        with pytest.raises(Exception, match=rf"Not now \({status} no, request r-1\)") as told:
            await connect(server.port).do(lambda c: c.status())
        assert told.value.status == status
        assert len(server.requests) == 1


async def test_patience_ends(connect: Connect) -> None:
    async with Scripted([refused(503, "storage_unavailable")]) as server:
        with pytest.raises(Unavailable) as told:
            await connect(server.port, patience=Patience(3, 0.001, 0.01)).do(lambda c: c.status())
        assert (told.value.code, told.value.request_id) == ("storage_unavailable", "r-1")
        assert len(server.requests) == 3


async def test_a_server_that_wants_too_long_a_rest_is_left_alone(connect: Connect) -> None:
    async with Scripted([refused(429, "quota_exceeded", retry_after="3600")]) as server:
        with pytest.raises(TooMany) as told:
            await connect(server.port).do(lambda c: c.status())
        assert told.value.retry_after == 3600
        assert len(server.requests) == 1


async def test_a_date_to_come_back_is_measured_by_the_servers_clock(connect: Connect) -> None:
    then = refused(503, retry_after=formatdate(7200, usegmt=True), Date=formatdate(0, usegmt=True))
    async with Scripted([then]) as server:
        with pytest.raises(Unavailable) as told:
            await connect(server.port).do(lambda c: c.status())
        assert told.value.retry_after == 7200


async def test_nobody_there_is_said_after_some_attempts(connect: Connect) -> None:
    async with Scripted([STATUS]) as server:
        port = server.port
    with pytest.raises(Unreachable, match="GET /status: ConnectError") as told:
        await connect(port).do(lambda c: c.status())
    assert not isinstance(told.value, AnswerLost)


@pytest.mark.parametrize(
    "answer",
    [Answer(200, b"<html>hello"), Answer(302, b"", {"Location": "http://127.0.0.1:1/"}), Answer(200, [1])],
)
async def test_an_answer_of_something_else_is_named(answer: Answer, connect: Connect) -> None:
    async with Scripted([answer]) as server:
        with pytest.raises(UnexpectedAnswer):
            await connect(server.port).do(lambda c: c.status())
        assert len(server.requests) == 1


async def test_a_gateways_refusal_keeps_its_status(connect: Connect) -> None:
    async with Scripted([Answer(409, b"busy")]) as server:
        with pytest.raises(Conflict, match="busy") as told:
            await connect(server.port).do(lambda c: c.status())
        assert told.value.code == "http_409"


async def test_a_proxied_path_before_the_api_is_kept(api: Api, connect: Connect) -> None:
    async with Scripted([STATUS]) as server:
        twin = connect(server.port)
        twin.client.url += "/mail"
        await twin.do(lambda c: c.status())
        assert server.requests[0].path == "/mail/status"


def test_pauses_double_and_are_spread() -> None:
    lost = Unreachable("gone")
    calm = Patience(attempts=20, first=1.0, longest=10.0)

    def pause(attempt: int, chance: float = 0.5, failure: Exception = lost) -> float | None:
        return delay(failure, attempt, repeatable=True, chance=chance, patience=calm)  # type: ignore[arg-type]

    assert [pause(n) for n in range(1, 6)] == [1.0, 2.0, 4.0, 8.0, 10.0]
    assert (pause(1, 0.0), pause(1, 0.25)) == (0.8, 0.9)
    assert pause(20) is None
    asked = Unavailable(503, "x", "x", None, 7.0)
    assert [pause(n, failure=asked) for n in (1, 4, 5)] == [7.0, 8.0, 10.0]
    assert delay(AnswerLost("x"), 1, repeatable=False, chance=0, patience=calm) is None
