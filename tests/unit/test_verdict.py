"""Every (stage, code) against what it must mean, and the parser that reads the codes."""

import pytest

from mailproxy.outcome import (
    AccountTrouble,
    Deferred,
    Outcome,
    Refused,
    Reply,
    Sent,
    Stage,
    Trouble,
    Unknown,
)
from workers.sender.replies import Break, make_reply, parse_reply
from workers.sender.verdict import Missing, Offered, judge, judge_dot, weigh

MESSAGE_STAGES = [Stage.MAIL, Stage.DATA, Stage.BODY]
CONNECTION_STAGES = [Stage.CONNECT, Stage.EHLO, Stage.TLS, Stage.AUTH]


def reply(code: int, text: str = "words that must not matter 550 451 2.0.0") -> Reply:
    return make_reply(code, text)


@pytest.mark.parametrize(
    ("stage", "code"),
    [
        (Stage.CONNECT, 220),
        (Stage.TLS, 220),
        (Stage.EHLO, 250),
        (Stage.AUTH, 235),
        (Stage.MAIL, 250),
        (Stage.DATA, 354),
    ],
)
def test_the_hoped_for_reply_lets_the_dialogue_go_on(stage: Stage, code: int) -> None:
    assert judge(stage, reply(code)) is None


@pytest.mark.parametrize("stage", MESSAGE_STAGES)
@pytest.mark.parametrize("code", [450, 451, 452, 455, 499])
def test_a_4xx_before_the_dot_is_temporary(stage: Stage, code: int) -> None:
    assert judge(stage, reply(code)) == Deferred(stage, str(reply(code)), reply(code))


@pytest.mark.parametrize("stage", MESSAGE_STAGES)
@pytest.mark.parametrize("code", [500, 501, 503, 550, 552, 554, 571])
def test_a_5xx_before_the_dot_is_permanent(stage: Stage, code: int) -> None:
    assert judge(stage, reply(code)) == Refused(stage, str(reply(code)), reply(code))


@pytest.mark.parametrize("stage", MESSAGE_STAGES)
@pytest.mark.parametrize("code", [530, 534, 535, 538])
def test_a_login_code_is_a_definite_account_trouble(stage: Stage, code: int) -> None:
    assert judge(stage, reply(code)) == AccountTrouble(
        Trouble.AUTH, str(reply(code)), reply(code), definite=True
    )


@pytest.mark.parametrize("stage", [*MESSAGE_STAGES, *CONNECTION_STAGES])
@pytest.mark.parametrize(
    ("code", "text", "trouble"),
    [(421, "bye", Trouble.UNAVAILABLE), (421, "4.7.0 slowly", Trouble.THROTTLED)],
)
def test_421_is_the_accounts_trouble_wherever_it_comes(
    stage: Stage, code: int, text: str, trouble: Trouble
) -> None:
    verdict = judge(stage, reply(code, text))
    assert isinstance(verdict, AccountTrouble)
    assert (verdict.trouble, verdict.definite) == (trouble, False)


@pytest.mark.parametrize("stage", MESSAGE_STAGES)
def test_454_is_a_throttle(stage: Stage) -> None:
    verdict = judge(stage, reply(454))
    assert isinstance(verdict, AccountTrouble)
    assert verdict.trouble is Trouble.THROTTLED


@pytest.mark.parametrize("stage", MESSAGE_STAGES)
@pytest.mark.parametrize("code", [100, 199, 300, 355, 399, 221, 600, 999, 0])
def test_a_reply_without_sense_before_the_dot_is_a_definite_failure(stage: Stage, code: int) -> None:
    assert isinstance(judge(stage, reply(code)), Deferred)


def test_250_instead_of_354_never_lets_a_body_go() -> None:
    assert isinstance(judge(Stage.DATA, reply(250)), Deferred)


@pytest.mark.parametrize(
    ("stage", "code", "trouble", "definite"),
    [
        (Stage.CONNECT, 554, Trouble.UNAVAILABLE, False),
        (Stage.CONNECT, 450, Trouble.UNAVAILABLE, False),
        (Stage.CONNECT, 250, Trouble.PROTOCOL, False),
        (Stage.EHLO, 550, Trouble.UNAVAILABLE, False),
        (Stage.TLS, 454, Trouble.TLS, False),
        (Stage.TLS, 501, Trouble.TLS, False),
        (Stage.AUTH, 535, Trouble.AUTH, True),
        (Stage.AUTH, 534, Trouble.AUTH, True),
        (Stage.AUTH, 530, Trouble.AUTH, True),
        (Stage.AUTH, 538, Trouble.AUTH, True),
        (Stage.AUTH, 454, Trouble.AUTH, False),
        (Stage.AUTH, 504, Trouble.AUTH, False),
        (Stage.AUTH, 334, Trouble.PROTOCOL, False),
        (Stage.AUTH, -1, Trouble.PROTOCOL, False),
    ],
)
def test_before_any_message_everything_is_the_accounts_trouble(
    stage: Stage, code: int, trouble: Trouble, definite: bool
) -> None:
    verdict = judge(stage, reply(code))
    assert isinstance(verdict, AccountTrouble)
    assert (verdict.trouble, verdict.definite) == (trouble, definite)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (200, Sent),
        (250, Sent),
        (251, Sent),
        (450, Deferred),
        (451, Deferred),
        (452, Deferred),
        (421, AccountTrouble),
        (454, AccountTrouble),
        (500, Refused),
        (530, Refused),
        (552, Refused),
        (554, Refused),
        (221, Unknown),
        (354, Unknown),
        (100, Unknown),
        (600, Unknown),
    ],
)
def test_the_reply_to_the_dot_is_definite_or_says_nothing(code: int, kind: type[Outcome]) -> None:
    assert type(judge_dot(reply(code), ())) is kind


RECIPIENTS = [(0, "a@example.org"), (2, "b@example.org")]
MAIL, GO = reply(250), reply(354)


def test_accepted_and_refused_recipients_keep_their_index() -> None:
    offered = weigh(RECIPIENTS, [MAIL, reply(550), reply(251), GO])
    assert isinstance(offered, Offered)
    assert offered.accepted == (2,)
    assert [(refusal.index, refusal.permanent) for refusal in offered.refused] == [(0, True)]


@pytest.mark.parametrize(("code", "permanent"), [(552, False), (452, False), (551, True), (550, True)])
def test_552_to_rcpt_means_too_many_and_551_means_never(code: int, permanent: bool) -> None:
    offered = weigh(RECIPIENTS, [MAIL, reply(250), reply(code), GO])
    assert isinstance(offered, Offered)
    assert offered.refused[0].permanent is permanent


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        ((550, 551), Refused),
        ((550, 450), Deferred),
        ((552, 550), Deferred),
        ((454, 454), AccountTrouble),
        ((454, 550), Deferred),
        ((530, 530), AccountTrouble),
        ((530, 550), Refused),
        ((550, 421), AccountTrouble),
        ((250, 350), Deferred),
    ],
)
def test_recipients_all_refused(codes: tuple[int, int], kind: type[Outcome]) -> None:
    verdict = weigh(RECIPIENTS, [MAIL, *map(reply, codes), reply(554)])
    assert type(verdict) is kind
    if isinstance(verdict, Refused):
        assert len(verdict.refused) == 2


@pytest.mark.parametrize(
    ("codes", "stage"), [((), Stage.MAIL), ((250, 250), Stage.RCPT), ((250, 250, 250), Stage.DATA)]
)
def test_a_missing_reply_names_its_stage(codes: tuple[int, ...], stage: Stage) -> None:
    assert weigh(RECIPIENTS, [reply(code) for code in codes]) == Missing(stage)


def test_a_refused_sender_decides_even_when_the_rest_is_missing() -> None:
    assert isinstance(weigh(RECIPIENTS, [reply(550)]), Refused)


@pytest.mark.parametrize("text", ["5.1.1 no", "4.2.2 no", ""])
def test_the_basic_code_decides_over_the_enhanced_one(text: str) -> None:
    assert isinstance(judge_dot(reply(250, text), ()), Sent)


@pytest.mark.parametrize(
    ("raw", "code", "text", "enhanced"),
    [
        (b"250 ok\r\n", 250, "ok", None),
        (b"250\r\n", 250, "", None),
        (b"250 \r\n", 250, "", None),
        (b"250 ok\n", 250, "ok", None),
        (b"550-5.1.1 no\r\n550 5.1.1 such user\r\n", 550, "5.1.1 no 5.1.1 such user", "5.1.1"),
        (b"250 5.1.1x\r\n", 250, "5.1.1x", None),
        (b"250 a\x1b[31mb\x00c\x85\r\n", 250, "a\ufffd[31mb\ufffdc\ufffd", None),
        (b"250 caf\xc3\xa9\r\n", 250, "caf\xe9", None),
        (b"250 " + b"x" * 4000 + b"\r\n", 250, "x" * 512, None),
    ],
)
def test_a_well_formed_reply_is_read(raw: bytes, code: int, text: str, enhanced: str | None) -> None:
    assert parse_reply(bytearray(raw + b"next")) == (Reply(code, text, enhanced), len(raw))


@pytest.mark.parametrize(
    "raw",
    [
        b"ok\r\n",
        b"25\r\n",
        b"2500\r\n",
        b"25x ok\r\n",
        b" 250 ok\r\n",
        b"+25 ok\r\n",
        b"\xd9\xa2\xd9\xa5\xd9\xa0 ok\r\n",
        b"\x00\x00\x00\r\n",
        b"\r\n",
        b"250_ok\r\n",
        b"250-one\r\n550 two\r\n",
        b"250 " + b"x" * 9000 + b"\r\n",
        b"250 " + b"x" * 9000,
        b"250-" + b"x" * 80 + b"\r\n" + (b"250-" + b"x" * 80 + b"\r\n") * 400,
    ],
)
def test_anything_else_is_garbled(raw: bytes) -> None:
    assert parse_reply(bytearray(raw)) is Break.GARBLED


@pytest.mark.parametrize(
    "raw", [b"", b"2", b"250", b"250 ok", b"250 ok\r", b"250-one\r\n", b"250-one\r\n250 t"]
)
def test_an_unfinished_reply_is_awaited(raw: bytes) -> None:
    assert parse_reply(bytearray(raw)) is None
