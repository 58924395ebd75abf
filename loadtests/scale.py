"""`make bench-scale`: what has to stay true as the queue grows. Each figure is kept as soon as it is known.

Results are in loadtests/results/scale.json; steps found there are not run again. `--only NAME` runs one step anew,
`--fresh` forgets all, `--share 0.01` shrinks every size, for trying the program itself (its figures are not kept).
The exit code is 1 when a figure misses its target.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from loadtests import machine, plots, scale_queue, scale_service
from loadtests.checks import FigureRefused
from loadtests.scaling import Ground, Judged, Step
from mailproxy import __version__
from mailproxy.demo import postgres

RESULTS = Path(__file__).parent / "results" / "scale.json"
STEPS: Mapping[str, Step] = {**scale_queue.STEPS, **scale_service.STEPS}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=[*STEPS], action="append", help="these steps only, anew")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.add_argument("--share", type=float, default=1.0, help="of every size")
    given = parser.parse_args()
    is_kept = given.share == 1.0
    known = _known() if is_kept and not given.fresh else {}
    wanted = given.only or [name for name in STEPS if name not in known]
    try:
        for name, found in _run(wanted, given.share):
            known[name] = found
            if is_kept:
                _keep(known)
    except (FigureRefused, TimeoutError) as refused:
        print(f"No figures: {refused}", file=sys.stderr)
        return 1
    if is_kept:
        plots.scale(known, RESULTS.parent)
    return _tell({name: known[name] for name in STEPS if name in known})


def _run(wanted: list[str], share: float) -> Iterator[tuple[str, dict[str, Any]]]:
    shown = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=Console(stderr=True)
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mp-scale-")))
        server, pid = stack.enter_context(postgres.running())
        stack.enter_context(shown)
        for number, name in enumerate(wanted):
            task = shown.add_task(name, total=1)
            ground = Ground(folder / f"{number}", server, pid, share)
            ground.folder.mkdir()
            began = time.time()
            judged = asyncio.run(STEPS[name](ground))
            shown.update(task, completed=1)
            ran = {"date": _date(began), "seconds": round(time.time() - began, 1)}
            yield name, ran | {"version": __version__, "machine": machine.facts()} | judged.document()


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _known() -> dict[str, Any]:
    return dict(json.loads(RESULTS.read_text())["steps"]) if RESULTS.exists() else {}


def _keep(known: Mapping[str, Any]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.with_suffix(".part").write_text(json.dumps({"steps": known}, indent=2) + "\n")
    RESULTS.with_suffix(".part").rename(RESULTS)


def _tell(known: Mapping[str, Mapping[str, Any]]) -> int:
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("step", "what", "found", "target", ""):
        shown.add_column(title, no_wrap=True)
    missed = 0
    for name, found in known.items():
        for figure in found["figures"]:
            judged = Judged.of(figure)
            missed += not judged.is_met
            shown.add_row(name, judged.what, judged.shown, judged.target, "" if judged.is_met else "MISSED")
    Console(width=110, highlight=False).print(shown)
    for name, found in known.items():
        if any(not Judged.of(figure).is_met for figure in found["figures"]) and found["more"]:
            print(f"{name}: {json.dumps(found['more'])}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
