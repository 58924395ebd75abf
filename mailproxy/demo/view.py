"""What the demo shows: live bars at a terminal, plain lines elsewhere, one JSON document when asked."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

WIDTH = 80
_LINES_SHOWN = 18


@dataclass(frozen=True, slots=True)
class Summary:
    """What the far end counted; rates in messages a second, durations in seconds."""

    database: str
    messages: int
    calls: int
    sent: int
    refused: int
    retried: int
    reported: int
    messages_per_second: float
    seconds: float
    post_to_first_data_seconds: float | None
    faults: Sequence[str]


class Bars(Protocol):
    """Three counts that grow."""

    def show(self, posted: int, arrived: int, reported: int) -> None: ...


class View:
    """Everything printed goes through here."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._terminal = Console(highlight=False) if sys.stdout.isatty() else None

    def say(self, text: str = "") -> None:
        if not self._as_json:
            click.echo(text)

    @contextmanager
    def bars(self, total: int) -> Iterator[Bars]:
        if self._as_json or self._terminal is None:
            yield _Silent()
            return
        columns = (TextColumn("  {task.description:<12}"), BarColumn(bar_width=44), MofNCompleteColumn())
        with Progress(*columns, console=self._terminal) as progress:
            names = ("Posted", "Handed over", "Reported")
            yield _Live(progress, [progress.add_task(name, total=total) for name in names])

    def complain(self, reasons: Sequence[str], server_log: Sequence[str]) -> None:
        for reason in reasons:
            click.echo(f"Error: {reason}", err=True)
        if server_log:
            click.echo("The server's last log lines:", err=True)
        for line in server_log:
            click.echo(f"  {line}", err=True)

    def result(self, summary: Summary, received: bytes | None) -> None:
        if self._as_json:
            text = None if received is None else received.decode("utf-8", "replace")
            click.echo(json.dumps(asdict(summary) | {"received": text}, indent=2))
            return
        click.echo()
        click.echo(_table(summary))
        if received is not None:
            click.echo()
            click.echo("One of them, as the SMTP server received it:")
            for line in received.decode("utf-8", "replace").splitlines()[:_LINES_SHOWN]:
                click.echo(f"  {line}"[:WIDTH].rstrip())


class _Silent:
    def show(self, posted: int, arrived: int, reported: int) -> None:
        """Where nothing can be drawn over, the result says it all."""


class _Live:
    def __init__(self, progress: Progress, tasks: Sequence[TaskID]) -> None:
        self._progress = progress
        self._tasks = tasks

    def show(self, posted: int, arrived: int, reported: int) -> None:
        for task, count in zip(self._tasks, (posted, arrived, reported), strict=True):
            self._progress.update(task, completed=count)


def _table(summary: Summary) -> str:
    first = summary.post_to_first_data_seconds
    rows = (
        ("Posted", f"{summary.messages:,}", f"in {summary.calls} calls of POST /commands/add-messages"),
        ("Sent", f"{summary.sent:,}", "in the SMTP server's log"),
        ("Refused", f"{summary.refused:,}", "550 to its recipient, told to the tenant as an error"),
        ("Retried", f"{summary.retried:,}", "451 at first, taken a second later"),
        ("Reported", f"{summary.reported:,}", "in the tenant's log"),
        (
            "Messages a second",
            f"{summary.messages_per_second:,.0f}",
            "first POST to last message handed over",
        ),
        ("Seconds", f"{summary.seconds:.2f}", "first POST to last report, with the retry"),
        (
            "POST to first DATA",
            "-" if first is None else f"{first * 1000:.0f} ms",
            "a sender was forked for it",
        ),
    )
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(width=WIDTH, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
