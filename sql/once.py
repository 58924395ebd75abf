"""Enqueueing once: the unit of work that keeps a call's answer beside what the call queued."""

from collections.abc import Mapping, Sequence

from mailproxy.once import KEPT_FOR, Kept, Once, Ticket
from mailproxy.records import Enqueued
from sql.engine import Last, Work
from sql.queries import Row, Step


def kept_answer(ticket: Ticket) -> Step:
    return Step("kept_answer", {"scope": ticket.scope, "key": ticket.key, "kept_for": KEPT_FOR})


def kept(found: Sequence[Row]) -> Kept | None:
    return Kept(bytes(found[0][0]), found[0][1], found[0][2]) if found else None


def enqueue_once(
    enqueue: Work[list[Enqueued]], once: Once[Sequence[Enqueued]]
) -> Work[list[Enqueued] | Kept | None]:
    """Whoever has the gate and finds nothing kept is the first, and the gate is held until the commit."""
    ticket = once.ticket
    whose: Mapping[str, object] = {"scope": ticket.scope, "key": ticket.key}
    (alone, found) = yield (Step("once_gate", whose), kept_answer(ticket))
    if not alone[0][0]:
        return None
    if found:
        return kept(found)
    results = yield from enqueue
    answered = once.answer(results)
    values = {"fingerprint": answered.fingerprint, "status": answered.status, "answer": answered.answer}
    yield Last((Step("keep_answer", {**whose, **values}),))
    return results
