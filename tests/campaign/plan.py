"""Pure: a seed -> what is done to the service, and when. The same seed makes the same plan."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

ROLES = {
    "kill_sender": "sender",
    "kill_worker": "worker",
    "kill_api": "api",
    "kill_reporter": "reporter",
    "kill_supervisor": "supervisor",
    "kill_node": "everything",
}
STOP_SENDER, STOP_DATABASE, FILL_DISK = "stop_sender", "stop_database", "fill_disk"


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything: seconds of load, messages a second, how often each fault, and how long the slowest
    reply to a dot takes."""

    seconds: float
    rate: float
    faults: Mapping[str, int]
    slowest: float = 0.1

    def __mul__(self, times: float) -> "Scale":
        faults = {kind: round(n * times) for kind, n in self.faults.items()}
        return replace(self, seconds=self.seconds * times, faults=faults)


SMALL = Scale(
    7.0,
    120.0,
    {"kill_sender": 5, "kill_worker": 1, "kill_reporter": 1, STOP_SENDER: 1, STOP_DATABASE: 1, FILL_DISK: 0},
)
CI = Scale(
    30.0,
    150.0,
    {
        "kill_sender": 24,
        "kill_worker": 3,
        "kill_api": 1,
        "kill_reporter": 3,
        "kill_supervisor": 1,
        "kill_node": 1,
        STOP_SENDER: 3,
        STOP_DATABASE: 2,
        FILL_DISK: 1,
    },
)
CONTROL = Scale(8.0, 150.0, {"kill_sender": 10}, slowest=0.3)
LONG = CI * 28


@dataclass(frozen=True, slots=True)
class Act:
    """`lasts` is 0 for what is done in an instant; `pick` in [0, 1) chooses among those it can befall."""

    at: float
    kind: str
    node: int
    pick: float
    lasts: float = 0.0


def plan(seed: int, scale: Scale, *, nodes: int, lease: float) -> list[Act]:
    """Each fault at a random instant of its own share of the time, so that none overlaps one of its kind."""
    chance = random.Random(f"{seed}-faults")
    acts = []
    for kind, times in scale.faults.items():
        share = scale.seconds / max(times, 1)
        for n in range(times):
            lasts = min(_duration(chance, kind, lease), 0.8 * share)
            at = n * share + chance.random() * (share - lasts)
            acts.append(Act(at, kind, chance.randrange(nodes), chance.random(), lasts))
    return sorted(acts, key=lambda act: act.at)


def _duration(chance: random.Random, kind: str, lease: float) -> float:
    if kind == STOP_SENDER:
        return lease * chance.uniform(1.2, 2.0)
    if kind == STOP_DATABASE:
        return chance.uniform(0.2, 1.5)
    return chance.uniform(1.0, 2.5) if kind == FILL_DISK else 0.0


# -- mail

RECIPIENTS = (
    (42, "bob@example.com"),
    (42, "slow{ms}@example.com"),
    (6, "defer451x2@example.com"),
    (4, "refuse550@example.com"),
    (3, "carol@example.com, refuse550@example.com"),
    (1, "dropdot@example.com"),
    (1, "hangdot@example.com"),
    (1, "garbledot@example.com"),
)


def recipients(chance: random.Random, slowest: float) -> str:
    weights, forms = zip(*RECIPIENTS, strict=True)
    return str(chance.choices(forms, weights)[0]).format(ms=chance.randrange(int(slowest * 1000)))
