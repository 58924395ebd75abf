"""The dialogue of one connection, against a sink that logs before it replies."""

import hashlib
from pathlib import Path

import pytest

from mailproxy.outcome import AccountTrouble, Deferred, Refused, Sent, Trouble, Unknown
from tests.smtp.conftest import MESSAGE, SHORT, offer, opened
from tests.support.smtp import ScriptedServer, Sink
from workers.sender.session import ConnectionLost, Offered

EHLO = b"250-x\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 8BITMIME\r\n"
GREETING = b"220 x\r\n"


async def test_a_message_arrives_once_and_unchanged(log: Path) -> None:
    async with Sink(log) as sink:
        session = await opened(sink)
        assert await offer(session, "b@example.org", "c@example.org") == Offered((0, 1))
        assert sink.messages() == []
        assert isinstance(await session.dot(), Sent)
        assert session.usable
        await session.quit()
    (delivery,) = sink.messages()
    assert (delivery.id, delivery.message_id) == ("m1", "<m1@example.com>")
    assert delivery.rcpts == ("b@example.org", "c@example.org")
    assert delivery.sha256 == hashlib.sha256(MESSAGE).hexdigest()
    assert not session.usable


async def test_one_connection_carries_many_messages(log: Path) -> None:
    async with Sink(log) as sink:
        session = await opened(sink)
        for number in range(20):
            assert isinstance(await offer(session, data=b"N: %d\r\n\r\nx" % number), Offered)
            assert isinstance(await session.dot(), Sent)
        await session.quit()
    assert len(sink.messages()) == 20
    assert sink.opened == 1


@pytest.mark.parametrize("pipelining", [True, False])
async def test_the_commands_are_those_the_server_offers(log: Path, pipelining: bool) -> None:
    async with Sink(log, pipelining=pipelining) as sink:
        session = await opened(sink)
        await offer(
            session, data="Subject: caf\u00e9\r\n\r\n".encode(), sender="\u00e4@example.com", smtputf8=True
        )
        await session.dot()
        await session.quit()
    assert sink.commands == [
        "EHLO client.example.com",
        "MAIL FROM:<\u00e4@example.com> SIZE=18 BODY=8BITMIME SMTPUTF8",
        "RCPT TO:<b@example.org>",
        "DATA",
        "QUIT",
    ]


async def test_without_extensions_no_parameter_is_sent(log: Path) -> None:
    async with Sink(log, esmtp=False) as sink:
        session = await opened(sink)
        await offer(session, data=b"\xe9\r\n", sender="")
        assert isinstance(await session.dot(), Sent)
        session.abandon()
    assert sink.commands[:3] == ["EHLO client.example.com", "HELO client.example.com", "MAIL FROM:<>"]


async def test_commands_go_out_in_one_write_where_pipelining_is_offered() -> None:
    writes: list[bytes] = []

    async def after_ehlo(reader, writer) -> None:
        writer.write(EHLO)
        writes.append(await reader.read(65536))
        writer.write(b"250 ok\r\n250 ok\r\n354 go\r\n")

    async with ScriptedServer(GREETING, after_ehlo) as server:
        session = await opened(server)
        assert isinstance(await offer(session), Offered)
        session.abandon()
    assert writes == [
        b"MAIL FROM:<a@example.com> SIZE=%d\r\nRCPT TO:<b@example.org>\r\nDATA\r\n" % len(MESSAGE)
    ]


@pytest.mark.parametrize(
    ("size", "refused"), [("10", True), ("100", False), ("0", False), ("abc", False), (None, False)]
)
async def test_what_exceeds_the_servers_size_is_refused_unsent(
    log: Path, size: str | None, refused: bool
) -> None:
    async with Sink(log, size=size) as sink:
        session = await opened(sink)
        outcome = await offer(session, data=b"Subject: x\r\n\r\nten and more\r\n")
        assert isinstance(outcome, Refused if refused else Offered)
        if isinstance(outcome, Refused):
            assert outcome.cause.startswith("too_large_for_server")
            assert session.usable
        assert ("DATA" in sink.commands) is not refused
        session.abandon()


async def test_internationalised_mail_needs_a_server_that_takes_it(log: Path) -> None:
    async with Sink(log, smtputf8=False) as sink:
        session = await opened(sink)
        outcome = await offer(session, "\u00fc@example.org", smtputf8=True)
        assert isinstance(outcome, Refused)
        assert outcome.cause.startswith("smtputf8_required")
        session.abandon()


@pytest.mark.parametrize(
    "address",
    ["a@b\r\nRCPT TO:<x@y>", "a@b> SIZE=1", "a b@c", "a@b\x00", "\u00fc@example.org", "a\tb@c", '"a\x01"@b'],
)
async def test_an_address_that_could_be_a_command_never_leaves(log: Path, address: str) -> None:
    async with Sink(log) as sink:
        session = await opened(sink)
        for outcome in (await offer(session, address), await offer(session, sender=address)):
            assert isinstance(outcome, Refused)
            assert outcome.cause.startswith("invalid_address")
        assert sink.commands == ["EHLO client.example.com"]
        session.abandon()


async def test_a_quoted_local_part_may_hold_spaces_and_brackets(log: Path) -> None:
    async with Sink(log) as sink:
        session = await opened(sink)
        assert isinstance(await offer(session, '"a <b> c\\""@example.org'), Offered)
        session.abandon()


SMUGGLING = [
    first + b"." + second
    for first in (b"\r\n", b"\n", b"\r", b"\r\r\n")
    for second in (b"\r\n", b"\n", b"\r", b"\r\r\n")
]


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("end", SMUGGLING)
@pytest.mark.bad_input("B24")
async def test_no_line_end_around_a_dot_makes_a_second_message(
    log: Path, end: bytes, pipelining: bool
) -> None:
    smuggled = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\nhidden\r\n.\r\n"
    async with Sink(log, lenient=True, pipelining=pipelining) as sink:
        session = await opened(sink)
        assert isinstance(await offer(session, data=b"Subject: x\r\n\r\ntext" + end + smuggled), Offered)
        assert isinstance(await session.dot(), Sent)
        await session.quit()
    assert [delivery.mail_from for delivery in sink.messages()] == ["a@example.com"]
    assert not any("evil" in command for command in sink.commands)


@pytest.mark.parametrize(
    "body", [b"", b".", b"..\r\n", b"x\r\n.", b".\r\n", b"x\r\n.\r\ny", b"\r\n\r\n.\r\n", b"no end"]
)
async def test_dots_and_missing_line_ends_arrive_as_meant(log: Path, tmp_path: Path, body: bytes) -> None:
    async with Sink(log, keep=tmp_path) as sink:
        session = await opened(sink)
        assert isinstance(await offer(session, data=body), Offered)
        assert isinstance(await session.dot(), Sent)
        await session.quit()
    assert sink.contents() == [body if body.endswith(b"\r\n") else body + b"\r\n"]


async def test_a_large_message_arrives_whole(log: Path) -> None:
    data = b"Subject: big\r\n\r\n" + b".line of text that starts with a dot\r\n" * 150_000
    async with Sink(log) as sink:
        session = await opened(sink)
        assert isinstance(await offer(session, data=data), Offered)
        assert isinstance(await session.dot(), Sent)
        await session.quit()
    assert sink.messages()[0].sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("pipelining", [True, False])
async def test_a_refused_recipient_is_reported_and_the_others_get_the_message(
    log: Path, pipelining: bool
) -> None:
    async with Sink(log, pipelining=pipelining) as sink:
        session = await opened(sink)
        offered = await offer(session, "refuse550@x.org", "ok@x.org", "rcpt450@x.org")
        assert isinstance(offered, Offered)
        assert offered.accepted == (1,)
        assert [(r.index, r.reply.code, r.permanent) for r in offered.refused] == [
            (0, 550, True),
            (2, 450, False),
        ]
        sent = await session.dot()
        assert isinstance(sent, Sent)
        assert sent.refused == offered.refused
        await session.quit()
    assert sink.messages()[0].rcpts == ("ok@x.org",)


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(
    ("recipients", "kind"),
    [
        (("refuse550@x.org", "refuse551@x.org"), Refused),
        (("refuse550@x.org", "rcpt450@x.org"), Deferred),
        (("refuse552@x.org",), Deferred),
        (("rcpt454@x.org",), AccountTrouble),
        (("rcpt530@x.org",), AccountTrouble),
    ],
)
async def test_all_recipients_refused_leaves_the_connection_good(
    log: Path, recipients, kind, pipelining
) -> None:
    async with Sink(log, pipelining=pipelining) as sink:
        session = await opened(sink)
        outcome = await offer(session, *recipients)
        assert type(outcome) is kind
        if not isinstance(outcome, AccountTrouble):
            assert [refusal.address for refusal in outcome.refused] == list(recipients)
        assert session.usable
        assert isinstance(await offer(session), Offered)
        assert isinstance(await session.dot(), Sent)
        await session.quit()
    assert len(sink.messages()) == 1
    assert "RSET" in sink.commands


async def test_more_recipients_than_the_server_takes_leaves_a_temporary_rest(log: Path) -> None:
    async with Sink(log, max_recipients=2) as sink:
        session = await opened(sink)
        offered = await offer(session, *(f"r{n}@x.org" for n in range(5)))
        assert isinstance(offered, Offered)
        assert offered.accepted == (0, 1)
        assert [(refusal.index, refusal.permanent) for refusal in offered.refused] == [
            (2, False),
            (3, False),
            (4, False),
        ]
        session.abandon()


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(
    ("stage", "reply", "kind"),
    [
        ("mail", "451 4.3.0 later", Deferred),
        ("mail", "550 5.7.1 never", Refused),
        ("mail", "530 5.7.0 log in", AccountTrouble),
        ("mail", "454 throttled", AccountTrouble),
        ("data", "451 later", Deferred),
        ("data", "554 never", Refused),
    ],
)
async def test_a_refusal_before_the_body_leaves_the_connection_good(
    log: Path, stage, reply, kind, pipelining
) -> None:
    async with Sink(log, replies={stage: reply}, pipelining=pipelining) as sink:
        session = await opened(sink)
        outcome = await offer(session)
        assert type(outcome) is kind
        assert outcome.reply.text == reply[4:]
        assert session.usable
        await session.quit()
    assert sink.messages() == []


@pytest.mark.parametrize(
    ("recipient", "kind"),
    [
        ("dot250", Sent),
        ("dot450", Deferred),
        ("dot554", Refused),
        ("dot454", AccountTrouble),
        ("dot421", AccountTrouble),
        ("dot354", Unknown),
        ("garbledot", Unknown),
        ("dropdot", Unknown),
        ("cutdot", Unknown),
    ],
)
async def test_the_dot_is_definite_after_a_whole_reply_only(log: Path, recipient: str, kind) -> None:
    async with Sink(log) as sink:
        session = await opened(sink)
        assert isinstance(await offer(session, f"{recipient}@x.org"), Offered)
        assert type(await session.dot()) is kind
        assert session.usable is (recipient in ("dot250", "dot450", "dot554", "dot454"))
        session.abandon()


async def test_451_three_times_then_250_is_one_delivery(log: Path) -> None:
    async with Sink(log) as sink:
        session = await opened(sink)
        outcomes = []
        for _ in range(4):
            assert isinstance(await offer(session, "defer451x3@x.org"), Offered)
            outcomes.append(type(await session.dot()))
        await session.quit()
    assert outcomes == [Deferred, Deferred, Deferred, Sent]
    assert len(sink.messages()) == 1


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
async def test_421_on_a_reused_connection_costs_nothing(log: Path, stage: str, pipelining: bool) -> None:
    async with Sink(log, pipelining=pipelining) as sink:
        session = await opened(sink)
        await offer(session)
        await session.dot()
        sink.manners = sink.manners.__class__(
            replies={stage: "421 4.3.2 shutting down"}, pipelining=pipelining
        )
        outcome = await offer(session)
        assert isinstance(outcome, ConnectionLost)
        assert outcome.reused
        assert not session.usable
    assert len(sink.messages()) == 1


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
async def test_421_on_a_fresh_connection_is_the_accounts_trouble(log: Path, stage: str) -> None:
    async with Sink(log, replies={stage: "421 4.7.0 slow down"}) as sink:
        session = await opened(sink)
        outcome = await offer(session)
        assert isinstance(outcome, AccountTrouble)
        assert (outcome.trouble, outcome.definite) == (Trouble.THROTTLED, False)
        assert not session.usable


async def test_a_session_limit_of_the_server_is_met_with_a_fresh_connection(log: Path) -> None:
    async with Sink(log, messages_per_session=1) as sink:
        session = await opened(sink)
        await offer(session)
        await session.dot()
        assert isinstance(await offer(session), ConnectionLost)


async def test_an_abandoned_message_is_not_delivered(log: Path) -> None:
    async with Sink(log) as sink:
        session = await opened(sink)
        assert isinstance(await offer(session), Offered)
        session.abandon()
        assert not session.usable
        other = await opened(sink)
        await offer(other)
        await other.dot()
        await other.quit()
    assert len(sink.messages()) == 1
    assert sink.commands.count("QUIT") == 1


async def test_quit_in_the_middle_of_a_message_sends_nothing(log: Path) -> None:
    async with Sink(log, keep=log.parent) as sink:
        session = await opened(sink)
        await offer(session)
        await session.quit()
    assert sink.messages() == []
    assert "QUIT" not in sink.commands


@pytest.mark.parametrize(
    "replies",
    [
        b"250 ok\r\n550 no\r\n354 go\r\n",
        b"550 no\r\n503 no\r\n354 go\r\n",
        b"250 ok\r\n250 ok\r\n250 thanks\r\n",
        b"250 ok\r\n350 what\r\n354 go\r\n",
        b"150 ok\r\n250 ok\r\n354 go\r\n",
        b"250 ok\r\n250 ok\r\n251 thanks\r\n",
    ],
)
async def test_out_of_step_replies_close_the_connection_and_send_no_body(replies: bytes) -> None:
    first, second, third = replies.splitlines(keepends=True)
    async with ScriptedServer(GREETING, EHLO, first, second, third) as server:
        session = await opened(server)
        outcome = await offer(session)
        assert isinstance(outcome, Deferred | Refused)
        assert not session.usable
    assert not any(b"Hello" in chunk for chunk in server.received)


async def test_a_reply_nobody_asked_for_ends_the_connection() -> None:
    async with ScriptedServer(
        GREETING,
        EHLO,
        b"250 ok\r\n",
        b"250 ok\r\n",
        b"354 go\r\n",
        ScriptedServer.BODY,
        b"250 ok\r\n250 again\r\n",
    ) as server:
        session = await opened(server)
        await offer(session)
        assert isinstance(await session.dot(), Sent)
        assert not session.usable


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(b"552 5.3.4 too much\r\n", Refused), (b"452 full\r\n", Deferred), (b"250 ok\r\n", Deferred)],
)
async def test_a_reply_in_the_middle_of_the_body_is_a_definite_no(reply: bytes, kind) -> None:
    async def refuse(reader, writer) -> None:
        writer.write(b"354 go\r\n")
        await reader.readexactly(100_000)
        writer.write(reply)
        await writer.drain()
        while await reader.read(65536):
            pass

    async with ScriptedServer(
        GREETING, EHLO.replace(b"1000", b"0"), b"250 ok\r\n", b"250 ok\r\n", refuse
    ) as server:
        session = await opened(server, timeouts=SHORT)
        outcome = await offer(session, data=b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" * 20_000_000)
        if isinstance(outcome, Offered):
            outcome = await session.dot()
        assert type(outcome) is kind
        assert not session.usable
