"""`make bench`: the product, the limit program and Postfix side by side, counted at the far end, in one table.

Options: --quick (under a minute), --json (the document that is also written to loadtests/results/latest.json),
--only postgresql|sqlite. A figure is refused, and the exit code is 1, when something that costs time was off.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from loadtests import machine, measure, plots, postfix, report
from loadtests.checks import FigureRefused
from loadtests.measure import Sizes
from mailproxy import __version__
from mailproxy.demo import postgres

RESULTS = Path(__file__).parent / "results" / "latest.json"
DATABASES = ("postgresql", "sqlite")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer messages, one round")
    parser.add_argument("--json", action="store_true", help="print the JSON document instead of the table")
    parser.add_argument("--only", choices=DATABASES, help="one database only")
    parser.add_argument("--messages", type=int, help="messages of a round")
    given = parser.parse_args()
    sizes = Sizes.quick() if given.quick else Sizes()
    if given.messages:
        sizes = Sizes(given.messages, sizes.rounds, sizes.singles, sizes.idle)
    try:
        found = _measure(sizes, [given.only] if given.only else list(DATABASES))
    except (FigureRefused, TimeoutError) as refused:
        print(f"No figures: {refused}", file=sys.stderr)
        return 1
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    plots.bench(found, RESULTS.parent)
    print(json.dumps(found, indent=2) if given.json else report.table(found))
    return 0


def _measure(sizes: Sizes, databases: list[str]) -> dict[str, Any]:
    began = time.time()
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mp-bench-")))
        for name in databases:
            print(f"Measuring on {name} …", file=sys.stderr)
            server, pid = stack.enter_context(postgres.running()) if name == "postgresql" else (None, None)
            found[name] = asyncio.run(measure.one_database(folder / name, server, pid, sizes))
        relayed = asyncio.run(postfix.relay(folder / "postfix", sizes.messages))
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        "version": __version__,
        "seconds": round(time.time() - began, 1),
        "machine": machine.facts(),
        "sizes": {name: getattr(sizes, name) for name in Sizes.__slots__},
        "databases": found,
        "postfix": relayed,
    }


if __name__ == "__main__":
    sys.exit(main())
