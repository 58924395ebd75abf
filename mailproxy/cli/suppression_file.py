"""Suppression lists as CSV files, from here and from other services."""

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailproxy.api import wire
from mailproxy.cli.show import meant
from mailproxy.errors import InvalidInput
from mailproxy.model import Instant
from mailproxy.suppressions import Cause, normalised

_ADDRESS = ("address", "email")


@dataclass(frozen=True, slots=True)
class Line:
    """An entry and the number of its line."""

    number: int
    address: str
    cause: Cause
    expires_at: Instant | None

    def entry(self) -> dict[str, object]:
        return {"address": self.address, "reason": str(self.cause), "expires_at": self.expires_at}


def read_lines(file: Path, cause: Cause) -> tuple[list[Line], list[tuple[int, str]]]:
    """The entries of a file, and what is wrong with its other lines; raises OSError and ValueError."""
    if str(file) == "-":
        return parse(sys.stdin.read().removeprefix("\ufeff").splitlines(keepends=True), cause)
    with file.open(encoding="utf-8-sig", newline="") as text:
        return parse(text, cause)


def parse(text: Iterator[str] | Sequence[str], cause: Cause) -> tuple[list[Line], list[tuple[int, str]]]:
    """`cause` is that of lines without one."""
    good: list[Line] = []
    bad: list[tuple[int, str]] = []
    names: list[str] | None = None
    for number, row in _rows(text):
        cells = [meant(cell.strip()) for cell in row]
        if not any(cells):
            continue
        if names is None:
            words = [cell.lower() for cell in cells]
            is_title = any(word in _ADDRESS for word in words)
            names = words if is_title else ["address"]
            if is_title:
                continue
        try:
            good.append(_line(number, dict(zip(names, cells, strict=False)), cause))
        except ValueError as wrong:
            bad.append((number, str(wrong)))
        except InvalidInput as wrong:
            bad.append((number, wrong.detail))
    return good, bad


def _rows(text: Iterator[str] | Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Each with the number of its last line; raises ValueError where quotes do not match, as nothing after is sure."""
    found = csv.reader(text, strict=True)
    while True:
        begun = found.line_num + 1
        try:
            row = next(found, None)
        except csv.Error as problem:
            raise ValueError(f"line {begun}: its double quotes do not match ({problem})") from problem
        if row is None:
            return
        yield found.line_num, row


def _line(number: int, cells: Mapping[str, str], default: Cause) -> Line:
    address = normalised(next((cells[name] for name in _ADDRESS if cells.get(name)), ""))
    said, ends = cells.get("reason"), cells.get("expires_at")
    if said and said not in list(Cause):
        raise ValueError(f"{said!r} is no reason: {', '.join(Cause)}")
    return Line(number, address, Cause(said) if said else default, wire.moment(ends) if ends else None)
