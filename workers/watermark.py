"""Where the next look at an account's rows begins; pure.

What a transaction with an old snapshot keeps of finished rows lies where the earliest due ones were, and a look from
the start steps over all of it. Once that takes long, claims begin at the watermark: nothing before it was left
unclaimed when somebody looked last. What gets there afterwards (resumed, replaced, given back, enqueued by a
transaction that took long) is found by looks from the start that are taken beside the claims.
"""

from dataclasses import dataclass, replace

from mailproxy.looks import FROM_START, Bounds, Look
from mailproxy.model import Instant, Seconds

QUICK: Seconds = 0.01
# An enqueue dates its rows when it begins, and they are seen when it has committed.
MARGIN: Seconds = 2.0
LONGEST_REST: Seconds = 10.0
RESTS = 10


@dataclass(frozen=True, slots=True)
class Watermark:
    """`look_at`, by the process's clock: when the next look from the start is due beside the claims; None while
    claims themselves look from there."""

    since: Bounds = FROM_START
    look_at: Instant | None = None
    looked_at: Instant = 0.0
    took: Seconds = 0.0

    @property
    def is_used(self) -> bool:
        return self.look_at is not None

    def after_look(self, look: Look, now: Instant, quick: Seconds = QUICK) -> "Watermark":
        """From the start: looks take at most every eleventh second, and none is further away than ten."""
        if look.took <= quick:
            return Watermark()
        took = max(look.took, QUICK)
        return Watermark(_left(look), now + min(RESTS * took, LONGEST_REST), now, took)

    def after_claim(self, asked: Bounds, look: Look) -> "Watermark":
        """Of a claim that began at `asked`; where a look from the start has meanwhile found something before that,
        there is no telling what the claim left."""
        since = tuple(
            left if bound >= began else bound
            for bound, began, left in zip(self.since, asked, _left(look), strict=True)
        )
        return replace(self, since=since)

    def after_failure(self, now: Instant) -> "Watermark":
        """A look from the start that failed, perhaps because it takes too long; a claim from there would, too."""
        if self.look_at is None:
            return self
        return replace(self, look_at=now + LONGEST_REST, looked_at=now)

    def with_room(self) -> "Watermark":
        """After a claim that found less than it wanted: look soon, but no more than half of the time."""
        if self.look_at is None:
            return self
        return replace(self, look_at=min(self.look_at, self.looked_at + self.took))


def _left(look: Look) -> Bounds:
    return tuple(min(due, look.at - MARGIN) for due in look.first)
