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
    """Messages a second, smoothed; and troubles in a row."""

    def __init__(self) -> None:
        self.per_second = 0.0
        self.troubles = 0
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
    log.claimed(
        message=message.id,
        client_id=message.client_id,
        tenant=account.tenant_id,
        account=account.id,
        attempt=message.attempt,
        waited=message.waited,
    )


def settled(
    account: Account,
    counts: metrics.AccountMetrics,
    message: Claimed,
    outcome: Outcome,
    settlement: Finish | Release,
    started: Seconds,
) -> None:
    seconds = time.monotonic() - started
    who = {
        "message": message.id,
        "client_id": message.client_id,
        "tenant": account.tenant_id,
        "account": account.id,
        "attempt": message.attempt,
    }
    retry_in = settlement.delay if isinstance(settlement, Release) else None
    match outcome:
        case Sent():
            _observe("sent", seconds)
            if isinstance(settlement, Finish):
                counts.sent.inc()
            log.sent(**who, reply=outcome.reply, seconds=seconds, refused=len(outcome.refused))  # type: ignore[arg-type]
        case Deferred() | Refused() if isinstance(settlement, Release):
            _observe("deferred", seconds)
            counts.deferred.inc()
            log.deferred(**who, cause=outcome.cause, reply=outcome.reply, retry_in=retry_in)  # type: ignore[arg-type]
        case Deferred() | Refused():
            _observe("refused", seconds)
            counts.errors.inc()
            log.refused(**who, cause=describe(outcome), reply=outcome.reply)  # type: ignore[arg-type]
        case Unknown():
            _observe("unknown", seconds)
            counts.unknown.inc()
            log.in_doubt(**who, cause=outcome.cause)  # type: ignore[arg-type]
        case AccountTrouble():
            _observe("account_trouble", seconds)
            log.deferred(**who, cause=outcome.cause, reply=outcome.reply, retry_in=None)  # type: ignore[arg-type]
        case Withheld():
            _observe("withheld", seconds)
            log.deferred(**who, cause=outcome.cause, reply=None, retry_in=None)  # type: ignore[arg-type]
        case _:
            assert_never(outcome)


def _observe(name: str, seconds: Seconds) -> None:
    metrics.handover(name).observe(seconds)
