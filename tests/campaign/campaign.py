"""One campaign from its first message to its verdict."""

import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.campaign import checker
from tests.campaign.checker import Finding, Tally
from tests.campaign.faults import Faults
from tests.campaign.histories import Accepted, Fault, Histories
from tests.campaign.load import CLIENTS, Client
from tests.campaign.plan import FILL_DISK, STOP_DATABASE, Scale, plan
from tests.campaign.stage import LEASE, SESSIONS, TENANT, Stage, stage

ACCEPTING = 90.0
STANDSTILL = 30.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """`amiss` are the faults that were planned and not done, and ends of processes that were not in order."""

    name: str
    seed: int
    tally: Tally
    faults: dict[str, int]
    findings: list[Finding]
    amiss: list[str]
    seconds: float
    refusals: int

    @property
    def good(self) -> bool:
        return not self.findings and not self.amiss

    @property
    def finds_duplicates(self) -> bool:
        """What a control run must come to: duplicates under `hold`, and its faults all done."""
        return not self.amiss and any(f.rule == "H2" and "held" in f.text for f in self.findings)


def run(
    dialect: str,
    seed: int,
    scale: Scale,
    *,
    careless: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    keep: Path | None = None,
) -> Verdict:
    """Play it; with `keep` its logs and histories stay in that folder."""
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mailproxy-campaign-")))
        folder.mkdir(parents=True, exist_ok=True)
        tell("starts")
        set_up = stack.enter_context(stage(folder, dialect, careless=careless))
        faults, refusals, wanted = _play(set_up, seed, scale, tell)
        tell("settles")
        histories = _outcome(set_up, tell)
        tell("stops")
        amiss = _not_done(faults, wanted, histories) + _stop(set_up)
    return Verdict(
        name="control" if careless else dialect,
        seed=seed,
        tally=checker.tally(histories),
        faults=dict(Counter(fault.kind for fault in histories.faults)),
        findings=checker.check(histories),
        amiss=amiss,
        seconds=round(time.monotonic() - started, 1),
        refusals=refusals,
    )


def _play(on: Stage, seed: int, scale: Scale, tell: Callable[[str], None]) -> tuple[Faults, int, int]:
    possible = {
        kind: n
        for kind, n in scale.faults.items()
        if (kind != STOP_DATABASE or on.postgres) and (kind != FILL_DISK or on.disk)
    }
    acts = plan(seed, replace(scale, faults=possible), nodes=len(on.nodes), lease=LEASE)
    faults = Faults(on, tell)
    clients = [Client(number, on, seed, scale) for number in range(CLIENTS)]
    try:
        faults.play(acts, scale.seconds)
    finally:
        for client in clients:
            client.finish(ACCEPTING)
    return faults, sum(client.refusals for client in clients), len(acts)


def _outcome(on: Stage, tell: Callable[[str], None]) -> Histories:
    """Wait until everything has ended and been reported, or nothing more happens, and look."""
    _wait(on.waiting, STANDSTILL)
    states = on.states()
    tell("reports")
    _wait(lambda: sum(1 for _ in checker.unreported(_histories(on, states))), STANDSTILL)
    return _histories(on, states)


def _histories(on: Stage, states: dict[str, str]) -> Histories:
    return Histories(
        accepted=tuple(Accepted(**fields) for fields in on.accepted.read()),
        deliveries=tuple(on.smtp.deliveries(TENANT)),
        told=tuple(on.endpoint.told(TENANT)),
        faults=tuple(Fault(**fields) for fields in on.faults.read()),
        final=states,
        sessions=SESSIONS,
    )


def _wait(left: Callable[[], int | None], standstill: float) -> None:
    """Until nothing is left, or no longer becomes less: then that is what the checker finds."""
    least, since = None, time.monotonic()
    while (found := left()) != 0 and time.monotonic() - since < standstill:
        if found is not None and (least is None or found < least):
            least, since = found, time.monotonic()
        time.sleep(0.2)


def _not_done(faults: Faults, wanted: int, histories: Histories) -> list[str]:
    found = [f"nobody there for {act.kind}" for act in faults.skipped]
    if len(histories.faults) < wanted:
        found.append(f"{len(histories.faults)} faults of {wanted}")
    return found


def _stop(on: Stage) -> list[str]:
    """An ordinary stop at the end: every node ends in order, and nothing of it is left."""
    found = []
    for node in on.nodes:
        if code := node.stop():
            found.append(f"node {node.number + 1} ended with {code}")
        if left := node.members():
            found.append(f"node {node.number + 1} left {len(left)} processes")
    return found
