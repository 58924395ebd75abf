"""The checker against histories with one thing wrong: each has to be found, by the rule that names it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.campaign.checker import check, tally
from tests.campaign.histories import HOLD, RETRY, Accepted, Fault, Histories
from tests.process.peers import Told
from tests.support.smtp import Delivery

HELD, AGAIN, PLAIN, LOST_REPLY, REFUSED = "c-hold-1", "c-retry-1", "c-hold-2", "c-hold-3", "c-retry-2"


def accepted(id_: str, policy: str, to: str = "bob@example.com") -> Accepted:
    return Accepted(1.0, id_, policy, to)


def delivery(id_: str, t: float = 2.0, sha256: str = "") -> Delivery:
    return Delivery(t, id_, f"<{id_}@x>", sha256 or id_, "a@x", ("bob@example.com",), 10, 1)


def told(event_id: int, id_: str, kind: str) -> Told:
    return Told(
        3.0, id_, event_id, kind, {"id": id_, "event_id": event_id, "event_type": kind, "event_ts": 2}
    )


# A sender was killed with two connections in doubt: HELD is held, AGAIN was sent again; another's server
# swallowed a reply; one was refused. The reporter died, too, and told an event twice.
KEPT = Histories(
    accepted=(
        accepted(HELD, HOLD),
        accepted(AGAIN, RETRY),
        accepted(PLAIN, HOLD),
        accepted(LOST_REPLY, HOLD, "dropdot@example.com"),
        accepted(REFUSED, RETRY),
    ),
    deliveries=(delivery(HELD), delivery(AGAIN), delivery(AGAIN, 2.5), delivery(PLAIN), delivery(LOST_REPLY)),
    told=(
        told(1, HELD, "unknown"),
        told(2, AGAIN, "retry_after_unknown"),
        told(3, PLAIN, "sent"),
        told(3, PLAIN, "sent"),
        told(4, LOST_REPLY, "unknown"),
        told(5, REFUSED, "error"),
        told(6, AGAIN, "sent"),
    ),
    faults=(Fault(2.0, "kill_sender", 0, 4711, cuts=1), Fault(2.0, "kill_reporter", 0, 4712)),
    final={HELD: "unknown", AGAIN: "sent", PLAIN: "sent", LOST_REPLY: "unknown", REFUSED: "error"},
    sessions=2,
)


def without_told(*event_ids: int) -> Histories:
    return replace(KEPT, told=tuple(one for one in KEPT.told if one.event_id not in event_ids))


def without_deliveries(id_: str) -> Histories:
    return replace(KEPT, deliveries=tuple(one for one in KEPT.deliveries if one.id != id_))


def with_final(id_: str, state: str) -> Histories:
    return replace(KEPT, final={**KEPT.final, id_: state})


def more(**entries: tuple[object, ...]) -> Histories:
    return replace(KEPT, **{name: getattr(KEPT, name) + added for name, added in entries.items()})


def retold(**changes: object) -> Histories:
    changed = replace(KEPT.told[3], item={**KEPT.told[3].item, **changes})
    return replace(KEPT, told=(*KEPT.told[:3], changed, *KEPT.told[4:]))


MUTATIONS: dict[str, tuple[str, Callable[[], Histories]]] = {
    "a message that never ends": ("H1", lambda: with_final(PLAIN, "pending")),
    "a message that is gone": ("H1", lambda: replace(KEPT, final={**KEPT.final, PLAIN: "missing"})),
    "a message sent that never arrived": ("H1", lambda: without_deliveries(PLAIN)),
    "a delivery of what was never accepted": ("H1", lambda: more(deliveries=(delivery("c-hold-9"),))),
    "a report of what was never accepted": ("H1", lambda: more(told=(told(9, "c-hold-9", "error"),))),
    "a held message delivered twice": ("H2", lambda: more(deliveries=(delivery(HELD, 2.7),))),
    "a sent message delivered twice": ("H2", lambda: more(deliveries=(delivery(PLAIN, 2.7),))),
    "a delivery more than doubts were named": ("H2", lambda: more(deliveries=(delivery(AGAIN, 2.7),))),
    "a repetition without a named doubt": ("H2", lambda: without_told(2)),
    "a delivered message called an error": ("H2", lambda: more(deliveries=(delivery(REFUSED),))),
    "more doubts than connections were cut": ("H3", lambda: replace(KEPT, sessions=1)),
    "a doubt without any fault": ("H3", lambda: replace(KEPT, faults=())),
    "an attempt with other bytes": ("H6", lambda: more(deliveries=(delivery(AGAIN, 2.7, "other"),))),
    "a sent message never reported": ("R1", lambda: without_told(3)),
    "an error never reported": ("R1", lambda: without_told(5)),
    "a sent message reported as an error": ("R1", lambda: with_final(REFUSED, "sent")),
    "an event repeated under another id": ("R2", lambda: more(told=(told(9, PLAIN, "sent"),))),
    "an event id used for two things": ("R2", lambda: more(told=(told(3, HELD, "unknown"),))),
    "an event that changed when repeated": ("R2", lambda: retold(event_ts=5)),
    "events told in the wrong order": ("R2", lambda: replace(KEPT, told=KEPT.told[::-1])),
}


def test_a_history_of_faults_with_every_promise_kept_has_no_findings() -> None:
    assert check(KEPT) == []


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_checker_finds(name: str) -> None:
    rule, mutated = MUTATIONS[name]
    assert rule in {finding.rule for finding in check(mutated())}


def test_the_table_counts_what_happened_to_each_policy() -> None:
    counts = tally(KEPT)
    assert (counts.messages, counts.kills, counts.stops, counts.lost) == (5, 2, 0, 0)
    assert (counts.hold_twice, counts.hold_unknown) == (0, 2)
    assert (counts.retry_twice, counts.retry_unknown) == (1, 1)
    assert (counts.cut, counts.cut_most) == (2, 2)
