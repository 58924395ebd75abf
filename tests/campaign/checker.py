"""Pure: what a campaign's histories say about the promises. Each rule yields what breaks it.

Rules and their names are RELIABILITY's: nothing lost (H1), nothing twice unnamed (H2), never more doubt than
connections were cut (H3), equal bytes at every attempt (H6), every end reported (R1), by stable events (R2).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.campaign.histories import HOLD, RETRY, Histories

ENDS = {"sent", "error", "unknown", "expired", "cancelled"}
NAMED = {"unknown", "retry_after_unknown"}
ONCE = {"sent", "unknown"}


@dataclass(frozen=True, slots=True)
class Finding:
    rule: str
    id: str
    text: str


Rule = Callable[[Histories], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Tally:
    """The row of the table. `twice` counts deliveries beyond the first, `unknown` the named doubts, by policy.

    `cut` are the doubts that faults and not servers left behind, `cut_most` what those faults explain.
    """

    messages: int
    kills: int
    stops: int
    lost: int
    hold_twice: int
    hold_unknown: int
    retry_twice: int
    retry_unknown: int
    cut: int
    cut_most: int


def check(histories: Histories) -> list[Finding]:
    return [finding for rule in RULES for finding in rule(histories)]


def tally(histories: Histories) -> Tally:
    kinds = Counter(fault.kind.split("_")[0] for fault in histories.faults)
    arrived, named = arrivals(histories), doubts(histories)
    extra, unknown = Counter[str](), Counter[str]()
    for one in histories.accepted:
        extra[one.policy] += max(arrived.get(one.id, 0) - 1, 0)
        unknown[one.policy] += named[one.id]
    return Tally(
        messages=len(histories.accepted),
        kills=kinds["kill"],
        stops=sum(kinds.values()) - kinds["kill"],
        lost=sum(1 for finding in lost(histories)),
        hold_twice=extra[HOLD],
        hold_unknown=unknown[HOLD],
        retry_twice=extra[RETRY],
        retry_unknown=unknown[RETRY],
        cut=cut(histories),
        cut_most=cut_most(histories),
    )


def arrivals(histories: Histories) -> dict[str, int]:
    """How often each message was taken, counted at the recipient that got it most often."""
    counts = Counter((one.id or "", rcpt) for one in histories.deliveries for rcpt in one.rcpts)
    most: dict[str, int] = {}
    for (id_, _), n in counts.items():
        most[id_] = max(n, most.get(id_, 0))
    return most


def doubts(histories: Histories) -> Counter[str]:
    """How many unknown outcomes of each message were named by an event."""
    return Counter(id_ for id_, _ in {(one.id, one.event_id) for one in histories.told if one.kind in NAMED})


def cut(histories: Histories) -> int:
    explained = {one.id for one in histories.accepted if one.doubtful}
    return sum(n for id_, n in doubts(histories).items() if id_ not in explained)


def cut_most(histories: Histories) -> int:
    return histories.sessions * sum(fault.cuts for fault in histories.faults)


# -- H1


def lost(histories: Histories) -> Iterator[Finding]:
    """An accepted message that did not end, or is said to be sent and never arrived."""
    arrived = arrivals(histories)
    for one in histories.accepted:
        state = histories.final.get(one.id, "missing")
        if state not in ENDS:
            yield Finding("H1", one.id, f"accepted, and {state} at the end")
        elif state == "sent" and not arrived.get(one.id):
            yield Finding("H1", one.id, "sent, says the service; the server never had it")


def invented(histories: Histories) -> Iterator[Finding]:
    """A delivery or report of something that nobody was told to be accepted."""
    accepted = {one.id for one in histories.accepted}
    for id_ in {one.id or "" for one in histories.deliveries} - accepted:
        yield Finding("H1", id_, "delivered, never accepted")
    for id_ in {one.id for one in histories.told} - accepted:
        yield Finding("H1", id_, "reported, never accepted")


# -- H2, H3


def twice(histories: Histories) -> Iterator[Finding]:
    """Each delivery is the acknowledged one or belongs to a named doubt; with `hold` there is one at most."""
    arrived, named = arrivals(histories), doubts(histories)
    for one in histories.accepted:
        n = arrived.get(one.id, 0)
        acknowledged = histories.final.get(one.id) == "sent"
        if one.policy == HOLD and n > 1:
            yield Finding("H2", one.id, f"delivered {n} times although doubts are held")
        elif n - acknowledged > named[one.id]:
            yield Finding("H2", one.id, f"delivered {n} times with {named[one.id]} doubts named")


def unexplained(histories: Histories) -> Iterator[Finding]:
    """A cut sender leaves at most its open connections in doubt; doubts the server itself raised are its own."""
    found, most = cut(histories), cut_most(histories)
    if found > most:
        yield Finding("H3", "", f"{found} unknown outcomes, and the faults explain {most}")


# -- H6


def altered(histories: Histories) -> Iterator[Finding]:
    """Deliveries with one Message-ID have the same bytes."""
    forms: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in histories.deliveries:
        forms[one.id or "", one.message_id or ""].add(one.sha256)
    for (id_, message_id), hashes in forms.items():
        if len(hashes) > 1:
            yield Finding("H6", id_, f"{len(hashes)} different messages {message_id}")


# -- R1, R2


def unreported(histories: Histories) -> Iterator[Finding]:
    """The end of every message was reported, as what it is."""
    kinds: dict[str, set[str]] = defaultdict(set)
    for one in histories.told:
        kinds[one.id].add(one.kind)
    for message in histories.accepted:
        state = histories.final.get(message.id)
        if state in ENDS and state not in kinds[message.id]:
            yield Finding("R1", message.id, f"{state}, and reported as {sorted(kinds[message.id])}")


def unstable(histories: Histories) -> Iterator[Finding]:
    """A repeated event is the same event; there is one `sent` and one final `unknown` to a message."""
    items: dict[int, dict[str, object]] = {}
    events: dict[tuple[str, str], set[int]] = defaultdict(set)
    for one in histories.told:
        if items.setdefault(one.event_id, dict(one.item)) != dict(one.item):
            yield Finding("R2", one.id, f"event {one.event_id} was told in two ways")
        events[one.id, one.kind].add(one.event_id)
    for (id_, kind), ids in events.items():
        if kind in ONCE and len(ids) > 1:
            yield Finding("R2", id_, f"{len(ids)} events say {kind}")


def disordered(histories: Histories) -> Iterator[Finding]:
    """The events of a message are first told in their order."""
    latest: dict[str, int] = {}
    known: set[int] = set()
    for one in histories.told:
        if one.event_id in known:
            continue
        known.add(one.event_id)
        if one.event_id < latest.get(one.id, 0):
            yield Finding("R2", one.id, f"event {one.event_id} was told after {latest[one.id]}")
        latest[one.id] = one.event_id


RULES: tuple[Rule, ...] = (lost, invented, twice, unexplained, altered, unreported, unstable, disordered)
