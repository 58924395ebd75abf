"""Reads the named queries of a dialect: `-- name: verb` starts one, statements end with `;` at a line's end."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

Row = tuple[Any, ...]  # a database row: typed by rows.py


class Query(NamedTuple):
    """A named query: its statements run in order, its rows are those of the last one."""

    name: str
    statements: tuple[str, ...]


class Step(NamedTuple):
    """One query with its parameters, and the rows it writes, as a unit of work asks for it.

    In PostgreSQL `rows` is a JSON array; in SQLite a statement that names a column runs once a row.
    """

    query: str
    params: Mapping[str, object] = {}
    rows: Sequence[Mapping[str, object]] = ()


_NAME = re.compile(r"^-- name: (\w+).*$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*$|\s-- .*$", re.MULTILINE)


def parse(text: str) -> dict[str, Query]:
    parts = _NAME.split(text)[1:]
    queries = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        statements = [s.strip() for s in re.split(r";\s*$", _COMMENT.sub("", body), flags=re.MULTILINE)]
        queries[name] = Query(name, tuple(s for s in statements if s))
    return queries


@cache
def load(dialect: str) -> Mapping[str, Query]:
    """All queries of `postgres` or `sqlite`; a name given twice is a bug."""
    queries: dict[str, Query] = {}
    for path in sorted(files("sql").joinpath(dialect).iterdir(), key=lambda p: p.name):
        if path.name.endswith(".sql"):
            found = parse(path.read_text())
            assert not queries.keys() & found.keys(), f"{path.name} repeats a query name"
            queries |= found
    return queries
