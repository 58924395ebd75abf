"""What a hand-over leaves in the delivery log and the metrics."""

import time
from typing import assert_never

from mailproxy import log, metrics
from mailproxy.model import Account, AccountCondition, Seconds
from mailproxy.outcome import AccountTrouble, Deferred, Outcome, Refused, Sent, Unknown, Withheld
from mailproxy.records import Claimed, Finish, Release, Rest
from mailproxy.retry import describe

HALF_LIFE: Seconds = 2.0

_log = log.get(__name__)


class Rate:
    """Messages a second, smoothed."""

    def __init__(self) -> None:
        self.per_second = 0.0
        self._counted = 0
        self._since = time.monotonic()

    def count(self, now: Seconds) -> None:
        self._counted += 1
        elapsed = now - self._since
        if elapsed >= HALF_LIFE / 4:
            keep = 0.5 ** (elapsed / HALF_LIFE)
            self.per_second = keep * self.per_second + (1 - keep) * self._counted / elapsed
            self._counted, self._since = 0, now


def claimed(account: Account, message: Claimed) -> None:
    metrics.queue_wait(message.priority).observe(max(0.0, message.waited))
    log.claimed(_of(account, message), waited=message.waited)


def settled(
    account: Account,
    counts: metrics.AccountMetrics,
    message: Claimed,
    outcome: Outcome,
    settlement: Finish | Release,
    started: Seconds,
) -> None:
    seconds = time.monotonic() - started
    of = _of(account, message)
    match outcome:
        case Sent():
            name = "sent"
            if isinstance(settlement, Finish):
                counts.sent.inc()
            log.sent(of, reply=outcome.reply, seconds=seconds, refused=len(outcome.refused))
        case Deferred() | Refused() if isinstance(settlement, Release):
            name = "deferred"
            counts.deferred.inc()
            log.deferred(of, cause=outcome.cause, reply=outcome.reply, retry_in=settlement.delay)
        case Deferred() | Refused():
            name = "refused"
            counts.errors.inc()
            log.refused(of, cause=describe(outcome), reply=outcome.reply)
        case Unknown():
            name = "unknown"
            counts.unknown.inc()
            log.in_doubt(of, cause=outcome.cause)
        case AccountTrouble():
            name = "account_trouble"
            log.deferred(of, cause=outcome.cause, reply=outcome.reply, retry_in=None)
        case Withheld():
            name = "withheld"
            log.deferred(of, cause=outcome.cause, reply=None, retry_in=None)
        case _:
            assert_never(outcome)
    metrics.handover(name).observe(seconds)


def rests(
    account: Account,
    counts: metrics.AccountMetrics,
    trouble: AccountTrouble,
    seconds: Seconds | None,
    told: Rest | None,
) -> None:
    """An alert for every change of the account's trouble; what goes on being so is only noted."""
    is_new = told is not None and told.is_new
    about = {
        "tenant": account.tenant_id,
        "account": account.id,
        "condition": str(AccountCondition.BREAKER_OPEN if trouble.definite else AccountCondition.BACKING_OFF),
        "trouble": str(trouble.trouble),
        "cause": trouble.cause,
        "seconds": None if seconds is None else round(seconds, 1),
    }
    if not is_new:
        _log.info("account_rests", **about)
        return
    counts.troubles.inc()
    (_log.error if trouble.definite else _log.warning)("account_trouble", **about)


def _of(account: Account, message: Claimed) -> log.Of:
    return log.Of(message.id, message.client_id, account.tenant_id, account.id, message.attempt)
