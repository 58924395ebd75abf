"""Pieces of Markdown."""

import json
from collections.abc import Iterable, Sequence

NOTE = "Written by `python -m docs.generate` from {}; a test finds what has changed since.\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, or nothing when it would have no rows."""
    lines = [_row(row) for row in rows]
    return "".join([_row(head), _row(["---"] * len(head)), *lines]) + "\n" if lines else ""


def code(value: object) -> str:
    return f"`{value}`"


def block(value: object) -> str:
    """JSON for people."""
    return f"```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```\n\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |\n"
