"""Pure: what an outcome means for the message's row, its recipients and its report."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import assert_never

from mailproxy.model import (
    EventDetail,
    EventType,
    Instant,
    MessageId,
    OnUnknownOutcome,
    RefusedRecipient,
    Seconds,
    Status,
)
from mailproxy.outcome import (
    AccountTrouble,
    Deferred,
    Outcome,
    Refusal,
    Refused,
    Reply,
    Sent,
    Stage,
    Unknown,
    Withheld,
)
from mailproxy.records import Claimed, Finish, InDoubt, RecipientOutcome, Release
from mailproxy.retry import GiveUp, RetryAt, RetryPolicy, describe, next_step

Settlement = Finish | Release


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which attempt ended; `before` are the recipients that earlier ones settled."""

    id: MessageId
    revision: int
    number: int
    claim: int
    before: tuple[RecipientOutcome, ...] = ()

    @classmethod
    def of(cls, message: Claimed) -> "Attempt":
        return cls(message.id, message.revision, message.attempt, message.claim, message.recipients)

    @classmethod
    def in_doubt(cls, message: InDoubt) -> "Attempt":
        return cls(message.id, message.revision, message.attempt, message.claim)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the account wants done with failures."""

    retry: RetryPolicy
    on_unknown_outcome: OnUnknownOutcome


def settle(attempt: Attempt, outcome: Outcome, rules: Rules, now: Instant, chance: float) -> Settlement:
    """`chance` in [0, 1) spreads the retry delays."""
    match outcome:
        case Sent():
            return _sent(attempt, outcome, rules, now, chance)
        case Deferred() | Refused():
            return _failed(attempt, outcome, rules, now, chance)
        case Unknown():
            return _unknown(attempt, outcome, rules, now, chance)
        case AccountTrouble() | Withheld():
            return Release(attempt.id, attempt.revision, attempt.number, attempt.claim, refund=True)
        case _:
            assert_never(outcome)


def expired(attempt: Attempt) -> Finish:
    return _never_offered(attempt, Status.EXPIRED, EventType.EXPIRED, "Expired before it could be sent")


def put_off(attempt: Attempt, delay: Seconds) -> Release:
    """Nothing was tried: the message comes again when there may be room for it."""
    return Release(attempt.id, attempt.revision, attempt.number, attempt.claim, delay=delay, refund=True)


def above_limit(attempt: Attempt, error: str) -> Finish:
    return _never_offered(attempt, Status.ERROR, EventType.ERROR, error)


def _never_offered(attempt: Attempt, status: Status, event: EventType, error: str) -> Finish:
    """It was claimed only to be ended, which is no attempt."""
    return replace(_finish(attempt, status, event, EventDetail(error=error)), refund=True)


def _sent(attempt: Attempt, sent: Sent, rules: Rules, now: Instant, chance: float) -> Settlement:
    refused = [_exception(refusal) for refusal in sent.refused if refusal.permanent]
    later = [refusal for refusal in sent.refused if not refusal.permanent]
    if later:
        cause = Deferred(Stage.RCPT, f"{len(later)} recipients deferred: {later[0].reply}", later[0].reply)
        step = next_step(cause, attempt.number, rules.retry, now, chance)
        if isinstance(step, RetryAt):
            accepted = [RecipientOutcome(index, True, address) for index, address in sent.accepted]
            waiting = [_exception(refusal) for refusal in later]
            return _retry(attempt, step, cause.reply, now, tuple(refused + accepted), waiting)
        refused += [_exception(refusal) for refusal in later]
    detail = EventDetail(
        attempt=attempt.number,
        code=sent.reply.code,
        enhanced=sent.reply.enhanced,
        reply=sent.reply.text,
        refused=_reported((*attempt.before, *refused)),
    )
    return _finish(attempt, Status.SENT, EventType.SENT, detail, refused)


def _failed(
    attempt: Attempt, outcome: Deferred | Refused, rules: Rules, now: Instant, chance: float
) -> Settlement:
    step = next_step(outcome, attempt.number, rules.retry, now, chance)
    if isinstance(step, RetryAt):
        refused = tuple(_exception(refusal) for refusal in outcome.refused if refusal.permanent)
        waiting = [_exception(refusal) for refusal in outcome.refused if not refusal.permanent]
        return _retry(attempt, step, outcome.reply, now, refused, waiting)
    refused = tuple(_exception(refusal) for refusal in outcome.refused)
    if any(one.accepted for one in attempt.before):
        detail = EventDetail(attempt=attempt.number, refused=_reported((*attempt.before, *refused)))
        return _finish(attempt, Status.SENT, EventType.SENT, detail, refused)
    return _gave_up(attempt, step, outcome.reply, refused)


def _unknown(attempt: Attempt, outcome: Unknown, rules: Rules, now: Instant, chance: float) -> Settlement:
    if rules.on_unknown_outcome is OnUnknownOutcome.RETRY:
        step = next_step(outcome, attempt.number, rules.retry, now, chance)
        if isinstance(step, RetryAt):
            return _retry(attempt, step, None, now, event=EventType.RETRY_AFTER_UNKNOWN)
    detail = EventDetail(attempt=attempt.number, error=describe(outcome))
    return _finish(attempt, Status.UNKNOWN, EventType.UNKNOWN, detail)


def _gave_up(
    attempt: Attempt, step: GiveUp, reply: Reply | None, refused: tuple[RecipientOutcome, ...]
) -> Finish:
    detail = EventDetail(
        attempt=attempt.number,
        error=step.error,
        code=reply.code if reply else None,
        enhanced=reply.enhanced if reply else None,
        reply=reply.text if reply else None,
        refused=_reported((*attempt.before, *refused)),
    )
    return _finish(attempt, Status.ERROR, EventType.ERROR, detail, refused)


def _retry(
    attempt: Attempt,
    step: RetryAt,
    reply: Reply | None,
    now: Instant,
    recipients: tuple[RecipientOutcome, ...] = (),
    waiting: Iterable[RecipientOutcome] = (),
    event: EventType = EventType.DEFERRED,
) -> Release:
    """`waiting` are named when others have been settled: whoever is not among them has the message."""
    settled = (*attempt.before, *recipients)
    detail = EventDetail(
        attempt=attempt.number,
        error=step.error,
        reason="temporary_failure",
        code=reply.code if reply else None,
        enhanced=reply.enhanced if reply else None,
        reply=reply.text if reply else None,
        deferred_until=step.at,
        refused=_reported((*settled, *waiting)) if settled else (),
    )
    return Release(
        attempt.id,
        attempt.revision,
        attempt.number,
        attempt.claim,
        delay=step.at - now,
        event=event,
        detail=detail,
        recipients=recipients,
    )


def _finish(
    attempt: Attempt,
    status: Status,
    event: EventType,
    detail: EventDetail,
    recipients: Iterable[RecipientOutcome] = (),
) -> Finish:
    return Finish(
        attempt.id, attempt.revision, attempt.number, attempt.claim, status, event, detail, tuple(recipients)
    )


def _exception(refusal: Refusal) -> RecipientOutcome:
    reply = refusal.reply
    return RecipientOutcome(
        refusal.index, False, refusal.address, reply.code, reply.enhanced, reply.text, refusal.permanent
    )


def _reported(outcomes: Iterable[RecipientOutcome]) -> tuple[RefusedRecipient, ...]:
    return tuple(
        RefusedRecipient(one.address, one.code or 0, one.enhanced, one.text or "")
        for one in outcomes
        if not one.accepted
    )
