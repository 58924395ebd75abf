"""`python -m tests.campaign`: both databases, then the control; ends with 1 when a promise was broken.

CAMPAIGN=long takes half an hour; `--seed` repeats a plan, `--keep` leaves all logs and histories in a folder.
"""

import argparse
import datetime
import json
import os
import random
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.status import Status
from rich.table import Table

from tests.campaign.campaign import Verdict, run
from tests.campaign.plan import CI, CONTROL, LONG, Scale

RESULTS = Path(__file__).parent / "results"
COLUMNS = ("messages", "kills", "stops", "lost", "hold_twice", "hold_unknown", "retry_twice", "retry_unknown")


def main(argv: Sequence[str] | None = None) -> int:
    given = _arguments(argv)
    console = Console(width=None if sys.stdout.isatty() else 160)
    scale = LONG if given.long else CI
    if given.minutes:
        scale = CI * (given.minutes * 60 / CI.seconds / len(given.databases))
    console.print(f"seed {given.seed}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave nothing behind
    verdicts = list(_verdicts(given, scale, console))
    console.print(_table(verdicts))
    passed = all(v.finds_duplicates if v.name == "control" else v.good for v in verdicts)
    for verdict in verdicts:
        _explain(verdict, console)
    if not given.unrecorded:
        console.print(f"written to {_write(given.seed, scale, verdicts, passed=passed)}")
    return 0 if passed else 1


def _verdicts(given: argparse.Namespace, scale: Scale, console: Console) -> Iterator[Verdict]:
    for name in (*given.databases, "control"):
        with console.status(name) as status:
            yield run(
                "sqlite" if name == "control" else name,
                given.seed,
                CONTROL if name == "control" else scale,
                careless=name == "control",
                tell=partial(_show, status, name),
                keep=given.keep / name if given.keep else None,
            )


def _show(status: Status, name: str, text: str) -> None:
    status.update(f"{name}: {text}")


def _table(verdicts: Sequence[Verdict]) -> Table:
    table = Table(
        "", *(column.replace("_", " ") for column in COLUMNS), "unknown by faults", "seconds", "verdict"
    )
    for verdict in verdicts:
        numbers = [str(getattr(verdict.tally, column)) for column in COLUMNS]
        numbers.append(f"{verdict.tally.cut} of {verdict.tally.cut_most}")
        if verdict.name == "control":
            word = "found out" if verdict.finds_duplicates else "NOT FOUND OUT"
        else:
            word = "kept" if verdict.good else "BROKEN"
        table.add_row(verdict.name, *numbers, f"{verdict.seconds:.0f}", word)
    return table


def _explain(verdict: Verdict, console: Console) -> None:
    for text in verdict.amiss:
        console.print(f"{verdict.name}: {text}")
    if verdict.name != "control":
        for finding in verdict.findings[:20]:
            console.print(f"{verdict.name}: {finding.rule} {finding.id} {finding.text}")


def _write(seed: int, scale: Scale, verdicts: Sequence[Verdict], *, passed: bool) -> Path:
    now = datetime.datetime.now(datetime.UTC)
    result = {
        "date": now.isoformat(timespec="seconds"),
        "seed": seed,
        "seconds_of_load": scale.seconds,
        "passed": passed,
        "runs": [asdict(verdict) for verdict in verdicts],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now:%Y-%m-%dT%H%M%S}-{seed}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--long", action="store_true", default=os.environ.get("CAMPAIGN") == "long")
    parser.add_argument("--minutes", type=float, help="minutes of load in all, instead of a size")
    parser.add_argument(
        "--databases", nargs="*", default=["postgres", "sqlite"], choices=["postgres", "sqlite"]
    )
    parser.add_argument("--keep", type=Path, help="a folder for logs and histories")
    parser.add_argument("--unrecorded", action="store_true", help="write no result file")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
