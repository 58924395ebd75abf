"""The figures as pictures, where matplotlib is installed: `make bench` and `make bench-scale` bring it."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Figures = Mapping[str, Any]


def bench(found: Figures, folder: Path) -> None:
    """Percentiles of the latencies, a line for each database."""
    with _picture(folder / "latency.png", "Latency on an idle service", "percentile", "ms") as axes:
        for name, one in found["databases"].items():
            for what in ("request", "data"):
                points = one["latency"].get(f"{what}_percentiles_ms", {})
                label = f"{name}: {'to the answer' if what == 'request' else 'to SMTP DATA'}"
                axes.plot(list(points), list(points.values()), marker="o", label=label)


def scale(known: Figures, folder: Path) -> None:
    """The rate over the depth of the backlog."""
    if "throughput" not in known:
        return
    with _picture(
        folder / "backlog.png", "Rate from a backlog", "messages queued", "messages/s", log=True
    ) as axes:
        for name, points in _by_database(known["throughput"]["more"]["rates"]).items():
            axes.plot([depth for depth, _ in points], [rate for _, rate in points], marker="o", label=name)


def _by_database(rates: Mapping[str, float]) -> dict[str, Sequence[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for key, rate in rates.items():
        name, depth = key.split()
        found.setdefault(name, []).append((int(depth), rate))
    return {name: sorted(points) for name, points in found.items()}


@contextmanager
def _picture(path: Path, title: str, across: str, up: str, *, log: bool = False) -> Iterator[Any]:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 an extra: figures count without pictures
    except ImportError:
        print(f"{path.name} is not drawn: matplotlib is not installed (extra `bench`)", file=sys.stderr)
        yield _Nothing()
        return
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    yield axes
    axes.set(title=title, xlabel=across, ylabel=up)
    axes.set_ylim(bottom=0)
    if log:
        axes.set_xscale("log")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=100)


class _Nothing:
    """Takes what would be drawn."""

    def plot(self, *_: object, **__: object) -> None:
        return
