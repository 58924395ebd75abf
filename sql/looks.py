"""Looks at an account's rows: where they begin, what they find."""

from collections.abc import Sequence
from math import inf
from operator import itemgetter

from mailproxy.looks import Bounds, Look
from mailproxy.model import Priority
from sql.queries import Row


def since(bounds: Bounds) -> dict[str, object]:
    """The parameters of a query that looks within these bounds."""
    return {f"since_{priority.name.lower()}": bounds[priority] for priority in Priority}


def look(found: Sequence[Row]) -> Look:
    """From the rows of `next_due`: one a priority."""
    first = tuple(inf if due is None else due for _, due, _, _ in sorted(found, key=itemgetter(0)))
    return Look(first, at=found[0][2], took=max(took for *_, took in found))
