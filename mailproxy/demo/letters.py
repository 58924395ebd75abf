"""The demo's messages, and what the logs at the far end say has become of them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailproxy.demo.endpoint import Callback
from mailproxy.demo.sink import Delivery
from mailproxy.model import EventType, Priority

STEADY = "steady"
UNSTEADY = "unsteady"
_CALLS = 5
_LARGEST_CALL = 1000
_TEXT = """Hello,

this message was accepted over HTTP, queued, handed over by a sender process
and reported back. Its priority was {priority}.

The demo
"""


@dataclass(frozen=True, slots=True)
class Mailing:
    """The messages in the order of posting; `refused` and `deferred` are the ids that meet trouble."""

    messages: tuple[Mapping[str, Any], ...]
    refused: str
    deferred: str

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(message["id"] for message in self.messages)

    def calls(self) -> list[Sequence[Mapping[str, Any]]]:
        size = min(_LARGEST_CALL, -(-len(self.messages) // _CALLS))
        return [self.messages[start : start + size] for start in range(0, len(self.messages), size)]


def mailing(count: int) -> Mailing:
    """`count` messages of all priorities, one for a refusing recipient, one for a server that defers it once."""
    ids = [f"demo-{number:03d}" for number in range(1, count + 1)]
    refused, deferred = ids[count // 2], ids[count // 4]
    special = {refused: ("refuse550", STEADY), deferred: ("defer451x1", UNSTEADY)}
    messages = []
    for number, client_id in enumerate(ids):
        recipient, account = special.get(client_id, (f"reader{number}", STEADY))
        priority = Priority(number % len(Priority))
        messages.append(
            {
                "id": client_id,
                "account_id": account,
                "from": "Demo <demo@example.org>",
                "to": f"{recipient}@example.com",
                "subject": f"Message {number + 1} of {count}",
                "body": _TEXT.format(priority=priority.name.lower()),
                "priority": int(priority),
            }
        )
    return Mailing(tuple(messages), refused, deferred)


@dataclass(frozen=True, slots=True)
class Tally:
    """How often each id was accepted by an SMTP server, and which ids the tenant was told of as what."""

    arrived: Counter[str]
    told: Mapping[str, frozenset[str]]

    @property
    def reported(self) -> frozenset[str]:
        return self.told[EventType.SENT] | self.told[EventType.ERROR]

    def is_complete(self, sent: Mailing) -> bool:
        return len(self.arrived) >= len(sent.messages) - 1 and self.reported >= sent.ids

    def faults(self, sent: Mailing) -> list[str]:
        """What did not become of the mailing as it had to."""
        expected = sent.ids - {sent.refused}
        return [
            *_named("did not arrive", expected - self.arrived.keys()),
            *_named("arrived although refused", self.arrived.keys() - expected),
            *_named("arrived more than once", {one for one, times in self.arrived.items() if times > 1}),
            *_named("not reported as sent", expected - self.told[EventType.SENT]),
            *_named("not reported as refused", {sent.refused} - self.told[EventType.ERROR]),
            *_named("not reported as deferred", {sent.deferred} - self.told[EventType.DEFERRED]),
        ]


def tally(deliveries: Iterable[Delivery], callbacks: Iterable[Callback]) -> Tally:
    told: dict[str, set[str]] = {kind: set() for kind in EventType}
    for callback in callbacks:
        for item in callback.items:
            told[item["event_type"]].add(item["id"])
    arrived = Counter(delivery.id or "" for delivery in deliveries)
    return Tally(arrived, {kind: frozenset(ids) for kind, ids in told.items()})


def _named(fault: str, ids: Iterable[str]) -> list[str]:
    some = sorted(ids)
    more = f" and {len(some) - 5} more" if len(some) > 5 else ""
    return [f"{fault}: {', '.join(some[:5])}{more}"] if some else []
