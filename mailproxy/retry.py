"""Pure: when a message, or an account, is tried again."""

from dataclasses import dataclass
from typing import assert_never

from mailproxy.model import Account, Instant, Seconds
from mailproxy.outcome import Deferred, Refused, Unknown

FIRST_BACKOFF: Seconds = 5.0
LONGEST_BACKOFF: Seconds = 600.0
SPREAD = 0.2


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`retries` more attempts after the first; the last of `delays` repeats."""

    retries: int = 5
    delays: tuple[Seconds, ...] = (60.0, 300.0, 900.0, 3600.0, 7200.0)

    def for_account(self, account: Account) -> "RetryPolicy":
        """This policy with what the account sets for itself."""
        return RetryPolicy(
            self.retries if account.max_retries is None else account.max_retries,
            account.retry_delays or self.delays,
        )


@dataclass(frozen=True, slots=True)
class RetryAt:
    at: Instant
    error: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    error: str


def next_step(
    outcome: Deferred | Refused | Unknown, attempts: int, policy: RetryPolicy, now: Instant, chance: float
) -> RetryAt | GiveUp:
    """What follows a failed attempt. `attempts` counts this one; `chance` is in [0, 1)."""
    error = describe(outcome)
    match outcome:
        case Refused():
            return GiveUp(error)
        case Deferred() | Unknown():
            if attempts > policy.retries or not policy.delays:
                return GiveUp(f"Max retries ({policy.retries}) exceeded: {error}")
            delay = policy.delays[min(attempts, len(policy.delays)) - 1]
            return RetryAt(now + _spread(delay, chance), error)
        case _:
            assert_never(outcome)


def describe(outcome: Deferred | Refused | Unknown) -> str:
    """The error text a client sees: after a reply it ends in its code, `(550, 'No such user') (SMTP 550)`."""
    if isinstance(outcome, Unknown) or outcome.reply is None:
        return outcome.cause
    return f"{outcome.cause} (SMTP {outcome.reply.code})"


def backoff(fails: int, chance: float) -> Seconds:
    """How long an account rests after its `fails`-th trouble in a row (from 1): 5 s doubling to 10 min."""
    doubled = FIRST_BACKOFF * 2.0 ** min(max(fails, 1) - 1, 30)
    return min(_spread(min(doubled, LONGEST_BACKOFF), chance), LONGEST_BACKOFF)


def _spread(delay: Seconds, chance: float) -> Seconds:
    """± 20 %, so that what failed together does not come back together."""
    return delay * (1 - SPREAD + 2 * SPREAD * chance)
