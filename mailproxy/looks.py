"""Looks at the rows of an account that wait: where they begin, and what they find."""

from dataclasses import dataclass
from math import inf

from mailproxy.model import Instant, Priority, Seconds

Bounds = tuple[
    Instant, ...
]  # by priority the due time from which on rows are looked at, by the database's clock
FROM_START: Bounds = (-inf,) * len(Priority)


@dataclass(frozen=True, slots=True)
class Look:
    """What of an account was left unclaimed at `at`, by the database's clock: by priority the earliest due time (inf:
    nothing), of rows within the bounds asked for. Finding out took the database `took` seconds."""

    first: tuple[Instant, ...]
    at: Instant
    took: Seconds

    @property
    def wait(self) -> Seconds | None:
        """Until the first of them is due."""
        soonest = min(self.first)
        return None if soonest == inf else soonest - self.at
