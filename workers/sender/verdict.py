"""Pure: (stage, reply) -> outcome. Code and stage decide, never the text (RFC 5321 §4.2, RFC 4954 §6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from mailproxy.outcome import (
    AccountTrouble,
    Deferred,
    Refusal,
    Refused,
    Reply,
    Sent,
    Stage,
    Trouble,
    Unknown,
)

Setback = Deferred | Refused | AccountTrouble
"""A definite non-delivery."""


@dataclass(frozen=True, slots=True)
class Offered:
    """The server waits for the body, or only for its dot, for the recipients at `accepted`."""

    accepted: tuple[int, ...]
    refused: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """The connection ended before the reply of this stage."""

    stage: Stage


LOGIN_CODES = frozenset({530, 534, 535, 538})
CLOSING = 421
THROTTLED = 454


def is_positive(stage: Stage, code: int) -> bool:
    """Whether the code is what the stage hopes for."""
    match stage:
        case Stage.CONNECT | Stage.TLS:
            return code == 220
        case Stage.EHLO:
            return code == 250
        case Stage.AUTH:
            return code == 235
        case Stage.MAIL | Stage.RCPT | Stage.DOT:
            return 200 <= code < 300 and code != 221
        case Stage.DATA:
            return code == 354
        case Stage.BODY | Stage.PREPARE:
            return False
        case _:
            assert_never(stage)


def judge(stage: Stage, reply: Reply, refused: tuple[Refusal, ...] = ()) -> Setback | None:
    """What a reply before the dot means; None when the dialogue goes on."""
    if is_positive(stage, reply.code):
        return None
    match stage:
        case Stage.CONNECT | Stage.TLS | Stage.EHLO | Stage.AUTH:
            return judge_connection(stage, reply)
        case Stage.MAIL | Stage.RCPT | Stage.DATA | Stage.BODY | Stage.PREPARE:
            if reply.code in LOGIN_CODES:
                return AccountTrouble(Trouble.AUTH, str(reply), reply, definite=True)
            return _setback(stage, reply, refused) or _nonsense(stage, reply, refused)
        case Stage.DOT:
            raise ValueError("the dot has a verdict of its own")
        case _:
            assert_never(stage)


def judge_dot(reply: Reply, refused: tuple[Refusal, ...]) -> Sent | Setback | Unknown:
    """What a reply to the dot means: 2xx, 4xx and 5xx are definite, anything else says nothing."""
    if is_positive(Stage.DOT, reply.code):
        return Sent(reply, refused)
    return _setback(Stage.DOT, reply, refused) or Unknown(f"the reply to the dot makes no sense: {reply}")


def judge_connection(stage: Stage, reply: Reply) -> AccountTrouble:
    """What an unwelcome reply before any message means: the account has a problem, no message has."""
    if not 400 <= reply.code < 600:
        return AccountTrouble(Trouble.PROTOCOL, f"unexpected reply to {stage}: {reply}", reply)
    if reply.code == CLOSING:
        return AccountTrouble(_load(reply), str(reply), reply)
    if stage is Stage.TLS:
        return AccountTrouble(Trouble.TLS, str(reply), reply)
    if stage is Stage.AUTH:
        return AccountTrouble(Trouble.AUTH, str(reply), reply, definite=reply.code in LOGIN_CODES)
    return AccountTrouble(Trouble.UNAVAILABLE, str(reply), reply)


def weigh(recipients: Sequence[tuple[int, str]], replies: Sequence[Reply]) -> Offered | Setback | Missing:
    """The replies to MAIL, RCPT… and DATA, as far as they came."""
    count = len(recipients)
    mail, rcpts, data = replies[:1], replies[1 : count + 1], replies[count + 1 :]
    answered = list(zip(recipients, rcpts, strict=False))
    refused = tuple(
        Refusal(index, address, reply)
        for (index, address), reply in answered
        if not is_positive(Stage.RCPT, reply.code)
    )
    setback = _after_mail(mail) or _after_recipients(count, rcpts, refused) or _after_data(data, refused)
    if setback is not None:
        return setback
    return Offered(tuple(i for (i, _), reply in answered if is_positive(Stage.RCPT, reply.code)), refused)


def _after_mail(replies: Sequence[Reply]) -> Setback | Missing | None:
    return judge(Stage.MAIL, replies[0]) if replies else Missing(Stage.MAIL)


def _after_recipients(
    count: int, replies: Sequence[Reply], refused: tuple[Refusal, ...]
) -> Setback | Missing | None:
    for reply in replies:
        if reply.code == CLOSING or is_nonsense(reply):
            return judge(Stage.RCPT, reply)
    if len(replies) < count:
        return Missing(Stage.RCPT)
    return _judge_refusals(refused) if len(refused) == count else None


def _after_data(replies: Sequence[Reply], refused: tuple[Refusal, ...]) -> Setback | Missing | None:
    return judge(Stage.DATA, replies[0], refused) if replies else Missing(Stage.DATA)


def _judge_refusals(refused: tuple[Refusal, ...]) -> Setback:
    """What it means that every recipient was refused.

    A code about the account counts as such only when all recipients got it: one odd mailbox behind a relay
    must not stop the others' mail.
    """
    first = refused[0].reply
    codes = {refusal.reply.code for refusal in refused}
    if codes == {THROTTLED}:
        return AccountTrouble(Trouble.THROTTLED, str(first), first)
    if codes <= LOGIN_CODES:
        return AccountTrouble(Trouble.AUTH, str(first), first, definite=True)
    temporary = next((refusal.reply for refusal in refused if not refusal.permanent), None)
    if temporary is not None:
        return Deferred(Stage.RCPT, str(temporary), temporary, refused)
    return Refused(Stage.RCPT, str(first), first, refused)


def is_nonsense(reply: Reply) -> bool:
    """1xx, 3xx and beyond, and 221: where no final answer may say so, the two sides are out of step."""
    return not 200 <= reply.code < 600 or 300 <= reply.code < 400 or reply.code == 221


def _setback(stage: Stage, reply: Reply, refused: tuple[Refusal, ...]) -> Setback | None:
    if reply.code in (CLOSING, THROTTLED):
        return AccountTrouble(_load(reply), str(reply), reply)
    if 400 <= reply.code < 500:
        return Deferred(stage, str(reply), reply, refused)
    if 500 <= reply.code < 600:
        return Refused(stage, str(reply), reply, refused)
    return None


def _nonsense(stage: Stage, reply: Reply, refused: tuple[Refusal, ...]) -> Deferred:
    return Deferred(stage, f"the reply makes no sense here: {reply}", reply, refused)


def _load(reply: Reply) -> Trouble:
    """454 and 421 with a 4.7.x status are about our rate, any other 421 about the server's health."""
    limited = reply.code == THROTTLED or (reply.enhanced or "").startswith("4.7.")
    return Trouble.THROTTLED if limited else Trouble.UNAVAILABLE
