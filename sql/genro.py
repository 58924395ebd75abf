"""Reads a database of genro-mail-proxy 0.5 or 0.6 without changing anything in it; rows by their columns' names."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from mailproxy.config import Database
from mailproxy.errors import ConfigurationError
from sql import queries
from sql.migrate import connect_postgres
from sql.sqlite.engine import translated

Foreign = Mapping[str, Any]
TABLES = {"tenants", "accounts", "messages"}


class Cursor(Protocol):
    """What both drivers' cursors have in common."""

    @property
    def description(self) -> Any: ...
    def execute(self, query: str, /) -> Any: ...
    def __iter__(self) -> Iterator[tuple[Any, ...]]: ...


class Source(Protocol):
    def tenants(self) -> Iterator[Foreign]: ...
    def accounts(self) -> Iterator[Foreign]: ...
    def messages(self) -> Iterator[Foreign]:
        """All of them in the order in which they would be sent, one after the other."""


@dataclass(frozen=True, slots=True)
class _Postgres:
    connection: Any  # psycopg's connection, whose row type depends on the query

    def tenants(self) -> Iterator[Foreign]:
        return self._rows("genro_tenants")

    def accounts(self) -> Iterator[Foreign]:
        return self._rows("genro_accounts")

    def messages(self) -> Iterator[Foreign]:
        return self._rows("genro_messages")

    def _rows(self, query: str) -> Iterator[Foreign]:
        with self.connection.cursor(name=query) as cursor:
            yield from _named(cursor, "postgres", query)


@dataclass(frozen=True, slots=True)
class _Sqlite:
    connection: sqlite3.Connection

    def tenants(self) -> Iterator[Foreign]:
        return self._rows("genro_tenants")

    def accounts(self) -> Iterator[Foreign]:
        return self._rows("genro_accounts")

    def messages(self) -> Iterator[Foreign]:
        return self._rows("genro_messages")

    def _rows(self, query: str) -> Iterator[Foreign]:
        try:
            with closing(self.connection.cursor()) as cursor:
                yield from _named(cursor, "sqlite", query)
        except sqlite3.Error as error:
            raise translated(error) from error


@contextmanager
def opened(database: Database) -> Iterator[Source]:
    """Raises StorageUnavailable without a database, ConfigurationError when it is one of another program."""
    if database.kind == "postgres":
        with connect_postgres(database) as postgres:
            postgres.read_only = True
            _require_tables(set(postgres.execute(_sole("postgres", "genro_tables").encode())), database)
            yield _Postgres(postgres)
        return
    assert database.path is not None
    try:
        sqlite = sqlite3.connect(f"{database.path.absolute().as_uri()}?mode=ro", uri=True)
        found = set(sqlite.execute(_sole("sqlite", "genro_tables")))
    except sqlite3.Error as error:
        raise translated(error) from error
    with closing(sqlite):
        _require_tables(found, database)
        yield _Sqlite(sqlite)


def _named(cursor: Cursor, dialect: str, query: str) -> Iterator[Foreign]:
    cursor.execute(_sole(dialect, query))
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield dict(zip(names, row, strict=True))


def _sole(dialect: str, query: str) -> str:
    (statement,) = queries.load(dialect)[query].statements
    return statement


def _require_tables(found: set[Any], database: Database) -> None:
    if missing := TABLES - {name for (name,) in found}:
        raise ConfigurationError(
            f"{database.label} is no database of genro-mail-proxy: it has no table {', '.join(sorted(missing))}"
        )
