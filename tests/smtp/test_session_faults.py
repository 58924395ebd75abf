"""Servers that hang, vanish or talk nonsense at every step: what is known stays known (RELIABILITY H8)."""

import asyncio
import socket
import struct
from pathlib import Path

import pytest

from mailproxy.outcome import AccountTrouble, Deferred, Sent, Stage, Trouble, Unknown
from tests.smtp.conftest import MESSAGE, SHORT, offer, opened, try_open
from tests.support.smtp import ScriptedServer, Sink
from workers.sender.replies import Break
from workers.sender.session import ConnectionLost, Offered, Session, Timeouts, wire_form

REPLIES = {
    Stage.CONNECT: b"220 server.example ESMTP\r\n",
    Stage.EHLO: b"250-server.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
    Stage.MAIL: b"250 2.1.0 Ok\r\n",
    Stage.RCPT: b"250 2.1.5 Ok\r\n",
    Stage.DATA: b"354 Go ahead\r\n",
    Stage.DOT: b"250 2.0.0 Ok: queued as 1\r\n",
}
STAGES = list(REPLIES)


def script(stage: Stage, last: bytes) -> list[bytes | None]:
    """Good replies up to `stage`, there `last`, then the end of the connection."""
    steps: list[bytes | None] = [REPLIES[earlier] for earlier in STAGES[: STAGES.index(stage)]]
    if stage is Stage.DOT:
        steps.append(ScriptedServer.BODY)
    return [*steps, last, None]


async def hand_over(server: ScriptedServer, *, pipelining: bool = True, timeouts: Timeouts | None = None):
    session = await try_open(server, pipelining=pipelining, timeouts=timeouts)
    if not isinstance(session, Session):
        return session
    outcome = await offer(session)
    if isinstance(outcome, Offered):
        outcome = await session.dot()
    assert session.usable is isinstance(outcome, Sent)
    session.abandon()
    return outcome


def expected_after_cut(stage: Stage) -> type:
    if stage in (Stage.CONNECT, Stage.EHLO):
        return AccountTrouble
    return Unknown if stage is Stage.DOT else Deferred


async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("kept", [0, 1, 3, 4, -2, -1])
@pytest.mark.parametrize("stage", STAGES)
async def test_a_connection_cut_within_a_reply_is_classified_by_the_dot(
    stage: Stage, kept: int, pipelining: bool
) -> None:
    async def part_then_close(reader, writer) -> None:
        writer.write(REPLIES[stage][:kept])
        writer.close()

    steps = [*script(stage, b"")[:-2], part_then_close]
    async with ScriptedServer(*steps) as server:
        outcome = await hand_over(server, pipelining=pipelining)
    assert type(outcome) is expected_after_cut(stage), outcome


@pytest.mark.parametrize("stage", STAGES)
async def test_a_reset_connection_is_classified_by_the_dot(stage: Stage) -> None:
    async with ScriptedServer(*script(stage, b"")[:-2], reset) as server:
        outcome = await hand_over(server)
    assert type(outcome) is expected_after_cut(stage), outcome


async def test_a_whole_reply_to_the_dot_counts_though_the_connection_ends_with_it() -> None:
    async def reply_then_close(reader, writer) -> None:
        writer.write(REPLIES[Stage.DOT])
        writer.close()

    async with ScriptedServer(*script(Stage.DOT, b"")[:-2], reply_then_close) as server:
        session = await opened(server)
        await offer(session)
        assert isinstance(await session.dot(), Sent)


@pytest.mark.parametrize("stage", ["connect", "ehlo", "auth", "mail", "rcpt", "data", "dot"])
async def test_a_server_that_hangs_is_left_after_the_stages_own_time(log: Path, stage: str) -> None:
    started = asyncio.get_running_loop().time()
    login = {"user": "u", "password": "p"}
    async with Sink(log, hang=stage, **login) as sink:
        session = await try_open(sink, timeouts=SHORT, **login)
        if not isinstance(session, Session):
            assert session.trouble is Trouble.NETWORK
        else:
            outcome = await offer(session)
            if stage == "dot":
                assert isinstance(outcome, Offered)
                outcome = await session.dot()
            assert type(outcome) is (Unknown if stage == "dot" else Deferred)
            assert not session.usable
    assert 0.25 < asyncio.get_running_loop().time() - started < 1.5


async def test_a_message_accepted_and_then_hung_upon_is_unknown(log: Path) -> None:
    async with Sink(log) as sink:
        session = await opened(sink, timeouts=SHORT)
        await offer(session, "hangdot@x.org")
        assert isinstance(await session.dot(), Unknown)
    assert len(sink.messages()) == 1


async def test_a_slow_reply_to_the_dot_is_waited_for(log: Path) -> None:
    async with Sink(log) as sink:
        session = await opened(sink, timeouts=Timeouts(command=0.1, data=0.1))
        await offer(session, "slow300@x.org")
        assert isinstance(await session.dot(), Sent)
        await session.quit()


@pytest.mark.parametrize("pause", [None, 0.04])
async def test_a_body_that_makes_progress_is_sent_however_slowly(pause: float | None) -> None:
    data = b"Subject: x\r\n\r\n" + b"twenty bytes a line\r\n" * 1_500_000

    async def read_slowly(reader, writer) -> None:
        writer.write(b"354 go\r\n")
        tail = b""
        while chunk := await reader.read(200_000):
            await asyncio.sleep(60 if pause is None else pause)
            tail = (tail + chunk)[-5:]
            if tail == b"\r\n.\r\n":
                writer.write(b"250 ok\r\n")

    steps = [REPLIES[Stage.CONNECT], b"250 x\r\n", b"250 ok\r\n", b"250 ok\r\n", read_slowly]
    async with ScriptedServer(*steps) as server:
        session = await opened(server, timeouts=Timeouts(body_progress=2.0))
        started = asyncio.get_running_loop().time()
        outcome = await offer(session, data=data)
        took = asyncio.get_running_loop().time() - started
        if pause is None:
            assert isinstance(outcome, Deferred)
            assert outcome.cause == f"{Break.TIMED_OUT} at body"
        else:
            assert isinstance(outcome, Offered)
            assert took > 2.0, "the server was not slow enough to prove anything"
            assert isinstance(await session.dot(), Sent)
        session.abandon()


@pytest.mark.parametrize("ending", [cut, reset])
@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA])
async def test_a_reused_connection_cut_before_the_dot_costs_nothing(stage: Stage, ending) -> None:
    again = script(stage, b"")[2:-2]
    steps = [*script(Stage.DOT, REPLIES[Stage.DOT])[:-1], *again, ending]
    async with ScriptedServer(*steps) as server:
        session = await opened(server, pipelining=False)
        await offer(session)
        assert isinstance(await session.dot(), Sent)
        outcome = await offer(session)
        assert isinstance(outcome, ConnectionLost)
        assert outcome.stage is stage


async def test_a_connection_closed_while_idle_is_not_usable(log: Path) -> None:
    async with Sink(log) as sink:
        session = await opened(sink)
        await offer(session)
        await session.dot()
    async with asyncio.timeout(5):
        while session.usable:
            await asyncio.sleep(0)


async def test_no_dot_follows_when_the_server_left_during_the_intent() -> None:
    async with ScriptedServer(*script(Stage.DATA, REPLIES[Stage.DATA])[:-1], ScriptedServer.BODY) as server:
        session = await opened(server)
        assert isinstance(await offer(session), Offered)
        await server.__aexit__()
        async with asyncio.timeout(5):
            while session.alive:
                await asyncio.sleep(0)
        outcome = await session.dot()
        assert isinstance(outcome, Deferred)
    assert not any(chunk.endswith(b"\r\n.\r\n") for chunk in server.received)


@pytest.mark.parametrize(
    "reply", [b"25 ok\r\n", b"2500\r\n", b"hello\r\n", b"250-a\r\n550 b\r\n", b"250 " + b"x" * 9000]
)
@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.DOT])
async def test_a_garbled_reply_is_definite_before_the_dot_only(stage: Stage, reply: bytes) -> None:
    async with ScriptedServer(*script(stage, reply)[:-1]) as server:
        outcome = await hand_over(server, timeouts=SHORT)
    assert type(outcome) is (Unknown if stage is Stage.DOT else Deferred)


@pytest.mark.parametrize("stage", [Stage.CONNECT, Stage.EHLO])
@pytest.mark.parametrize(
    "reply", [b"hello\r\n", b"999 x\r\n", b"250-" + b"x" * 9000, b"-1 x\r\n", b"221 bye\r\n"]
)
async def test_nonsense_before_any_message_is_the_accounts_trouble(stage: Stage, reply: bytes) -> None:
    async with ScriptedServer(*script(stage, reply)[:-1]) as server:
        outcome = await hand_over(server, timeouts=SHORT)
    assert isinstance(outcome, AccountTrouble)


async def test_a_server_that_lies_about_pipelining_is_found_out() -> None:
    async def drops_what_came_with_the_first_command(reader, writer) -> None:
        writer.write(REPLIES[Stage.EHLO])
        await reader.read(65536)
        writer.write(REPLIES[Stage.MAIL])
        await reader.read()

    async with ScriptedServer(REPLIES[Stage.CONNECT], drops_what_came_with_the_first_command) as server:
        session = await opened(server, timeouts=SHORT)
        assert isinstance(await offer(session), Deferred)
        assert session.out_of_step


@pytest.mark.parametrize(
    "text", ["\x1b[31mred\x07", "'; DROP TABLE message; --", "<script>alert(1)</script>", "y" * 4000]
)
async def test_a_hostile_reply_text_is_only_text(text: str) -> None:
    async with ScriptedServer(*script(Stage.DOT, f"250 {text}\r\n".encode())[:-1]) as server:
        outcome = await hand_over(server)
    assert isinstance(outcome, Sent)
    assert outcome.reply.text == text.replace("\x1b", "\ufffd").replace("\x07", "\ufffd")[:512]


async def test_a_killed_client_leaves_nothing_and_the_sink_goes_on(log: Path) -> None:
    async with Sink(log) as sink:
        for ending in (b"", b".", b".\r"):
            reader, writer = await asyncio.open_connection(sink.host, sink.port)
            writer.write(
                b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n" + wire_form(MESSAGE) + ending
            )
            await reader.readuntil(b"354")
            await reset(reader, writer)
        session = await opened(sink)
        await offer(session)
        assert isinstance(await session.dot(), Sent)
        await session.quit()
    assert len(sink.messages()) == 1
