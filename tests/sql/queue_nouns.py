"""What the model of the queue speaks of (queue_model.py)."""

from collections import Counter
from dataclasses import dataclass, field
from math import floor

QUEUED, SENT, ERROR, UNKNOWN, CANCELLED, EXPIRED = range(6)
READY, CLAIMED, AUTHORISED = range(3)
ALL = ""
NAMES = ("queued", "sent", "error", "unknown", "cancelled", "expired")


@dataclass
class Row:
    """The queue row of a message that is not finished. `due` ends with the number of the call that set it, as
    rows due in the same tick go in the order in which they came."""

    due: tuple[float, int]
    expires: float
    held: bool
    phase: int = READY
    epoch: int | None = None
    attempts: int = 0
    claim: int = 0
    crashes: int = 0
    suspect: int = 0
    charged: float | None = None

    def free(self, *, refund: bool) -> None:
        self.epoch, self.phase, self.charged = None, READY, None
        self.attempts = max(self.attempts - refund, 0)


@dataclass
class Letter:
    id: int
    account: str
    priority: int
    batch: str | None
    created: float
    revision: int = 0
    status: int = QUEUED
    attempts: int = 0
    done: float | None = None
    reported: float | None = None
    row: Row | None = None
    recipients: dict[int, bool] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether a delivery that is heard of late can still be believed."""
        return self.status == UNKNOWN or (self.row is not None and self.row.phase < AUTHORISED)


@dataclass(frozen=True)
class Token:
    """What a process knows of a message it claimed or adopted."""

    id: int
    name: str
    revision: int
    claim: int


@dataclass(frozen=True)
class Verdict:
    """How a claim ends. A finish has a `status`; a release may `refund` the attempt and wait for `delay`.
    `certain`: nobody got the message, so its rate tokens come free."""

    status: int | None
    event: str | None
    certain: bool
    delay: float | None = None
    refund: bool = False
    recipients: tuple[tuple[int, bool], ...] = ()


@dataclass
class Process:
    node: str
    owner: str
    seen: float
    left: float | None = None


@dataclass
class Account:
    """`behaviour` says what becomes of what its limit leaves no room for."""

    behaviour: str = "defer"
    condition: str = "ok"
    not_before: float = 0.0


@dataclass(frozen=True)
class Taken:
    """What a claim answers; `above`: the limit is used up, and the messages are to be refused for it."""

    names: tuple[str, ...] = ()
    lost: bool = False
    limited: bool = False
    above: bool = False


@dataclass
class Windows:
    """Rate limits: in any `width` ticks no more than `most` of a scope, counted with the oldest slot whole."""

    width: int
    most: dict[str, int]
    charged: dict[str, Counter[int]] = field(default_factory=dict)

    def over(self, account: str) -> list[str]:
        """The scopes an account's messages are charged to: its own, and that of all."""
        return [scope for scope in (account, ALL) if scope in self.most]

    def used(self, scope: str, now: float) -> int:
        return sum(n for slot, n in self._slots(scope).items() if slot >= slot_at(now) - self.width)

    def free(self, account: str, now: float) -> list[int]:
        return [self.most[scope] - self.used(scope, now) for scope in self.over(account)]

    def charge(self, account: str, at: float, n: int) -> None:
        for scope in self.over(account):
            slots = self._slots(scope)
            slots[slot_at(at)] = max(slots[slot_at(at)] + n, 0)

    def counts(self, account: str, at: float | None, now: float) -> bool:
        """Whether what was charged then is still charged in every window."""
        return at is not None and all(
            slot_at(at) >= slot_at(now) - self.width and self._slots(scope)[slot_at(at)] > 0
            for scope in self.over(account)
        )

    def frees(self, account: str, now: float) -> float:
        """When enough of what is counted has left each window for one token."""
        found = 0.0
        for scope in self.over(account):
            excess = self.used(scope, now) - self.most[scope] + 1
            for slot, n in sorted(self._slots(scope).items()):
                if slot >= slot_at(now) - self.width and excess > 0:
                    excess -= n
                    found = found if excess > 0 else max(found, slot + self.width + 0.5)
        return found

    def _slots(self, scope: str) -> Counter[int]:
        return self.charged.setdefault(scope, Counter())


def slot_at(at: float) -> int:
    """Ticks begin in the middle of a slot."""
    return floor(at + 0.5)
