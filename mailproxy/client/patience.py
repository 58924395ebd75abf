"""Pure: whether a failed call is worth another attempt, and after how long."""

from dataclasses import dataclass

from mailproxy.client.errors import AnswerLost, ApiError, ClientError, Unreachable
from mailproxy.model import Seconds

_DONE_NOTHING = frozenset({429, 503})
_MAYBE_DONE = frozenset({502, 504})


@dataclass(frozen=True, slots=True)
class Patience:
    """At most `attempts`, with pauses that double from `first` up to `longest` seconds.

    A server that wants to be left alone for longer than `longest` is not asked again.
    """

    attempts: int = 5
    first: Seconds = 0.5
    longest: Seconds = 30.0


NONE = Patience(attempts=1)


def delay(
    failure: ClientError, attempt: int, *, repeatable: bool, chance: float, patience: Patience
) -> Seconds | None:
    """Seconds before attempt `attempt + 1`, None to give up. `chance` in [0, 1) spreads clients by ± 20 %."""
    if attempt >= patience.attempts or not _is_worth_it(failure, repeatable=repeatable):
        return None
    doubled = min(patience.longest, patience.first * 2.0 ** min(attempt - 1, 30)) * (0.8 + 0.4 * chance)
    asked = failure.retry_after if isinstance(failure, ApiError) else None
    if asked is None:
        return doubled
    return None if asked > patience.longest else max(asked, doubled)


def _is_worth_it(failure: ClientError, *, repeatable: bool) -> bool:
    if isinstance(failure, AnswerLost):
        return repeatable
    if isinstance(failure, ApiError):
        if failure.status in _MAYBE_DONE or failure.code == "commit_unknown":
            return repeatable
        return failure.status in _DONE_NOTHING or failure.code == "idempotency_in_flight"
    return isinstance(failure, Unreachable)
