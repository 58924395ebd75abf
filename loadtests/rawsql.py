"""The product's named queries, run on bare psycopg and sqlite3 connections with the product's durability."""

import json
import re
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from mailproxy.config import Database
from sql import queries
from sql.sqlite import engine as sqlite

Row = tuple[Any, ...]
Rows = Sequence[Mapping[str, object]]
Step = tuple[str, Mapping[str, object], Rows]
Steps = Sequence[Step]

_DURABLE = "SELECT set_config('synchronous_commit', 'on', true)"


class Raw:
    """One connection for one thread."""

    def __init__(self, database: Database) -> None:
        self._queries = queries.load(database.kind)
        self._server: psycopg.Connection[Row] | None = None
        if database.kind == "postgres":
            self._server = psycopg.connect(database.url, autocommit=True, prepare_threshold=None)
        else:
            self._file: sqlite3.Connection = sqlite.connect(Path(database.url))

    def transact(self, steps: Steps, then: Callable[[list[Row]], Steps] | None = None) -> list[Row]:
        """The rows of the last step, committed. `then` makes further steps of them, in the same transaction."""
        return self._on_server(steps, then) if self._server is not None else self._in_file(steps, then)

    def _on_server(self, steps: Steps, then: Callable[[list[Row]], Steps] | None) -> list[Row]:
        assert self._server is not None
        with self._server.pipeline() as pipeline:
            self._server.execute("BEGIN")
            self._server.execute(_DURABLE)
            cursor = self._send(steps)
            if then is not None:
                pipeline.sync()
                cursor = self._send(then(cursor.fetchall()))
            self._server.execute("COMMIT")
        return cursor.fetchall()

    def _send(self, steps: Steps) -> psycopg.Cursor[Row]:
        assert self._server is not None
        cursor: psycopg.Cursor[Row] | None = None
        for name, params, rows in steps:
            values = {**params, "rows": json.dumps(rows)} if rows else params
            for statement in self._queries[name].statements:
                cursor = self._server.execute(statement.encode(), values or None)
        assert cursor is not None
        return cursor

    def _in_file(self, steps: Steps, then: Callable[[list[Row]], Steps] | None) -> list[Row]:
        self._file.execute("BEGIN IMMEDIATE")
        found = self._execute(steps)
        if then is not None:
            found = self._execute(then(found))
        self._file.execute("COMMIT")
        return found

    def _execute(self, steps: Steps) -> list[Row]:
        found: list[Row] = []
        for name, params, rows in steps:
            values = {
                key: json.dumps(value) if isinstance(value, list) else value for key, value in params.items()
            }
            values["now"] = time.time()
            for statement in self._queries[name].statements:
                if not rows or _named(statement) <= values.keys():
                    found = self._file.execute(statement, values).fetchall()
                else:
                    self._file.executemany(statement, (values | row for row in rows))
        return found


@cache
def _named(statement: str) -> frozenset[str]:
    return frozenset(re.findall(r"(?<!:):([a-z_]+)", statement))
