"""The figures as one table of 80 columns."""

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

Figures = Mapping[str, Any]

_ROWS: tuple[tuple[str, str, Callable[[Figures], float | str]], ...] = (
    ("End to end, batches of 100 (messages/s)", "2,000/1,500", lambda f: f["product"]["rate"]),
    ("  the limit program", "", lambda f: f["limit"]["rate"]),
    ("  product / limit", "55 %", lambda f: _percent(f["product"]["rate"] / f["limit"]["rate"])),
    ("  with a rate limit counted (messages/s)", "", lambda f: f["rate_limited"]["rate"]),
    ("  reported to the tenant (messages/s)", "", lambda f: f["product"]["reported_rate"]),
    ("From a backlog (messages/s)", "", lambda f: f["queueing"]["backlog_rate"]),
    ("Queueing, batch 100 (messages/s)", "6,000", lambda f: f["queueing"]["batch_rate"]),
    ("Queueing, single, 16 connections", "800", lambda f: f["queueing"]["single_rate"]),
    ("One request, idle: p50 / p99 (ms)", "3 / 15", lambda f: _pair(f["latency"], "request")),
    ("Request to SMTP DATA, idle: p50 / p99", "20 / 60", lambda f: _pair(f["latency"], "data")),
    ("CPU a message, the product's (ms)", "", lambda f: _decimals(_own(f))),
    ("  cores busy, everything", "", lambda f: _decimals(f["product"]["cores_busy"])),
    ("  cores busy with other programs", "", lambda f: _decimals(f["product"]["cores_busy_with_others"])),
    ("  share of driver and sink", "", lambda f: _percent(_far_share(f))),
)
_FAR = ("driver", "sink", "tenant")


def table(found: Figures) -> str:
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    shown.add_column("", no_wrap=True)
    shown.add_column("at least", no_wrap=True, justify="right")
    for name in found["databases"]:
        shown.add_column(name, no_wrap=True, justify="right")
    for title, target, figure in _ROWS:
        shown.add_row(title, target, *(_cell(figure(one)) for one in found["databases"].values()))
    shown.add_row()
    for role in _roles(found):
        cells = (_role_cell(one["product"], role) for one in found["databases"].values())
        shown.add_row(f"{role}: CPU ms/message; PSS MB", "", *cells)
    console = Console(width=80, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(shown)
    return "\n".join([*(line.rstrip() for line in captured.get().splitlines()), "", *_notes(found)])


def _notes(found: Figures) -> list[str]:
    facts = found["machine"]
    relayed = found["postfix"]
    if "rate" in relayed:
        ratios = (f"{one['product']['rate'] / relayed['rate']:.1f} x" for one in found["databases"].values())
        postfix = f"Postfix {relayed['version']}: {relayed['rate']:,.0f}/s; the product: {', '.join(ratios)}"
    else:
        postfix = f"Postfix: not measured, {relayed['skipped']}"
    return [
        postfix,
        "Checked: fsync on, intents committed before dots, events, limit, reports; all counted",
        "in the sink's and the tenant's logs. Everything ran on this machine:",
        f"  {facts['cores']} cores, {facts['cpu']}, {facts['memory_gb']} GB; Python {facts['python']}",
        f"{found['date']}, {found['seconds']:.0f} s, version {found['version']}",
    ]


def _roles(found: Figures) -> list[str]:
    roles: dict[str, None] = {}
    for one in found["databases"].values():
        roles |= dict.fromkeys(one["product"]["cpu_ms_per_message"])
    return list(roles)


def _role_cell(product: Figures, role: str) -> str:
    if role not in product["cpu_ms_per_message"]:
        return "-"
    sizes = product["pss_mb"].get(role, [])
    return f"{product['cpu_ms_per_message'][role]:.3f}" + (
        f"; {sum(sizes) / len(sizes):.0f}" if sizes else ""
    )


def _own(figures: Figures) -> float:
    spent = figures["product"]["cpu_ms_per_message"]
    return sum(used for role, used in spent.items() if role not in _FAR)


def _far_share(figures: Figures) -> float:
    spent = figures["product"]["cpu_ms_per_message"]
    return sum(spent.get(role, 0.0) for role in _FAR) / sum(spent.values())


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.0f}"


def _decimals(value: float) -> str:
    return f"{value:.2f}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _pair(figures: Figures, name: str) -> str:
    return f"{figures[f'{name}_p50_ms']:.1f} / {figures[f'{name}_p99_ms']:.1f}"
