"""What a command prints: tables for people, or one JSON document and nothing else."""

import csv
import io
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailproxy.model import Instant
from mailproxy.moments import distance

_WIDTH_WITHOUT_TERMINAL = 1000

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; a `cut` one gives way when the terminal is narrow, the others fold."""

    title: str
    cut: bool = False


def told(answer: Mapping[str, object]) -> dict[str, object]:
    """What an answer of the API says, without that it is one."""
    return {name: value for name, value in answer.items() if name != "ok"}


def document(value: object) -> None:
    """One JSON document on stdout; escaped where the terminal's encoding could not hold it."""
    click.echo(json_text(value))


def json_text(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=not _speaks_utf8())


class JsonArray:
    """A JSON array written as its items come."""

    def __init__(self) -> None:
        self._opened = False

    def add(self, items: Iterable[object]) -> None:
        for item in items:
            click.echo(",\n" if self._opened else "[\n", nl=False)
            click.echo(json_text(item), nl=False)
            self._opened = True

    def end(self) -> None:
        click.echo("\n]" if self._opened else "[]")


class CsvRows:
    """Comma-separated values (RFC 4180) written as their rows come, under a line of names.

    What a spreadsheet would take for a formula gets an apostrophe in front: subjects come from anybody.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._write([names])

    def add(self, items: Iterable[Mapping[str, object]]) -> None:
        self._write([_harmless(item.get(name)) for name in self._names] for item in items)

    def _write(self, rows: Iterable[Sequence[object]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        click.echo(text.getvalue(), nl=False)


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value


def meant(text: str) -> str:
    """What a cell of `CsvRows` said."""
    return text[1:] if text.startswith(tuple(f"'{sign}" for sign in _FORMULAS)) else text


class Rows:
    """A table written as its rows come; the first ones decide how wide its columns are."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._widths: list[int] | None = None

    def add(self, rows: Iterable[Sequence[object]]) -> None:
        cells = [[cell(value) for value in row] for row in rows]
        is_first = self._widths is None
        widths = self._widths = self._widths or self._fitting(cells)
        shown = Table(
            box=None, show_header=is_first, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0)
        )
        for column, width in zip(self._columns, widths, strict=True):
            shown.add_column(
                column.title, width=width, no_wrap=column.cut, overflow="ellipsis" if column.cut else "fold"
            )
        for row in cells:
            shown.add_row(*row)
        _print(shown)

    def _fitting(self, cells: Sequence[Sequence[Text]]) -> list[int]:
        """As wide as the widest cell; columns that may be cut share what the terminal has left."""
        wanted = [
            max([len(column.title), *(row[number].cell_len for row in cells)])
            for number, column in enumerate(self._columns)
        ]
        excess = sum(wanted) + 2 * len(wanted) - _width()
        for number in sorted(range(len(wanted)), key=lambda n: (not self._columns[n].cut, -wanted[n])):
            least = min(wanted[number], 12)
            given_up = max(0, min(excess, wanted[number] - least))
            wanted[number] -= given_up
            excess -= given_up
        return wanted


def table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    Rows(columns).add(rows)


def details(pairs: Mapping[str, object]) -> None:
    """Names and values, one pair a line; what is not set is left out."""
    shown = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    shown.add_column(style="bold", no_wrap=True)
    shown.add_column(overflow="fold")
    for name, value in pairs.items():
        if value is not None:
            shown.add_row(name, cell(value))
    _print(shown)


def cell(value: object) -> Text:
    if isinstance(value, Text):
        return value
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    return Text("-" if value is None else harmless(str(value)))


def harmless(text: str) -> str:
    """The text without what a terminal would obey instead of showing."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def moment(instant: Instant | None) -> str | None:
    """A time as people of this place write it."""
    return None if instant is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(instant))


def moment_beside(instant: Instant | None, now: Instant) -> str | None:
    """A time, and how far it is from `now`."""
    if instant is None:
        return None
    return f"{moment(instant)} ({distance(instant, now)})"


def findings(found: Iterable[tuple[str, str | None]]) -> None:
    """Sentences, each with what to do about it below."""
    for text, remedy in found:
        say(f"  {harmless(text)}")
        if remedy:
            say(f"      -> {harmless(remedy)}")


def note(text: str) -> None:
    """Something beside the result: goes to stderr, so that stdout can be read by programs."""
    click.echo(text, err=True)


def say(text: str) -> None:
    """What people read: on stdout, unless that is for the command's JSON document."""
    click.echo(text, err=bool(click.get_current_context().params.get("as_json")))


def commands(*lines: tuple[str, str]) -> None:
    """Commands to type next, each with what it does."""
    for command, purpose in lines:
        say(f"  {command}\n      {purpose}")


def _print(shown: Table) -> None:
    console = Console(width=_width(), highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(shown)
    say("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _width() -> int:
    return Console().width if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL


def _speaks_utf8() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
