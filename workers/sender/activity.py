"""What a hand-over leaves in the delivery log and the metrics."""

import time
from typing import assert_never

from mailproxy import log, metrics
from mailproxy.model import Account, Seconds
from mailproxy.outcome import AccountTrouble, Deferred, Outcome, Refused, Sent, Unknown, Withheld
from mailproxy.records import Claimed, Finish, Release
from mailproxy.retry import describe

HALF_LIFE: Seconds = 2.0


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


def _of(account: Account, message: Claimed) -> log.Of:
    return log.Of(message.id, message.client_id, account.tenant_id, account.id, message.attempt)
