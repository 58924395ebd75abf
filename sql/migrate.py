"""Numbered migrations: each file once, in order, in one transaction, by one process at a time."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from mailproxy.config import Database
from mailproxy.errors import ConfigurationError, StorageUnavailable
from sql.sqlite.engine import connect, translated
from sql.sqlite.place import require_writable

if TYPE_CHECKING:
    import psycopg

LOCK = 7236834

_TABLE = """CREATE TABLE IF NOT EXISTS schema_migration (
    version integer PRIMARY KEY, name text NOT NULL, applied_at text NOT NULL DEFAULT CURRENT_TIMESTAMP)"""
_INSERT = "INSERT INTO schema_migration (version, name) VALUES "


class Migration(NamedTuple):
    version: int
    name: str
    text: str


class Standing(NamedTuple):
    """`applied` and `pending` migration names; `unknown` are versions of a newer release."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    unknown: tuple[int, ...]


@cache
def known(dialect: str) -> tuple[Migration, ...]:
    found = []
    for path in files("sql").joinpath(dialect, "migrations").iterdir():
        match = re.fullmatch(r"(\d{4})_(\w+)\.sql", path.name)
        if match:
            found.append(Migration(int(match[1]), path.name.removesuffix(".sql"), path.read_text()))
    return tuple(sorted(found))


def migrate(database: Database) -> tuple[str, ...]:
    """Bring the schema to this release; returns what was applied. Safe when several processes start at once."""
    return _migrate_postgres(database) if database.kind == "postgres" else _migrate_sqlite(database)


def status(database: Database) -> Standing:
    return _postgres_standing(database) if database.kind == "postgres" else _sqlite_standing(database)


def require_current(database: Database) -> None:
    """Refuse a schema that is older or newer than this code."""
    standing = status(database)
    _refuse_newer(standing)
    if standing.pending:
        pending = ", ".join(standing.pending)
        raise ConfigurationError(f"The database lacks {pending}: run `mail-proxy db migrate`")


def _standing(dialect: str, versions: set[int]) -> Standing:
    ours = known(dialect)
    return Standing(
        tuple(m.name for m in ours if m.version in versions),
        tuple(m.name for m in ours if m.version not in versions),
        tuple(sorted(versions - {m.version for m in ours})),
    )


def _refuse_newer(standing: Standing) -> None:
    if standing.unknown:
        raise ConfigurationError(
            f"The database was made by a newer release (migration {standing.unknown[-1]}): upgrade this one"
        )


@contextmanager
def connect_postgres(database: Database) -> "Iterator[psycopg.Connection[tuple[int, ...]]]":
    """A transaction on a connection of its own, committed at the end."""
    import psycopg  # noqa: PLC0415 a service on SQLite has no use for its 5 MB

    try:
        with psycopg.connect(database.url, connect_timeout=5, prepare_threshold=None) as connection:
            yield connection
    except (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction) as e:
        raise StorageUnavailable(f"PostgreSQL does not answer at {database.label}: {e}") from e


def _postgres_versions(connection: "psycopg.Connection[tuple[int, ...]]") -> set[int]:
    if connection.execute("SELECT to_regclass('schema_migration') IS NULL").fetchone() == (True,):
        return set()
    return {row[0] for row in connection.execute("SELECT version FROM schema_migration")}


def _postgres_standing(database: Database) -> Standing:
    with connect_postgres(database) as connection:
        return _standing("postgres", _postgres_versions(connection))


def _migrate_postgres(database: Database) -> tuple[str, ...]:
    with connect_postgres(database) as connection:
        server = connection.info.server_version
        if server < 140000:
            raise ConfigurationError(f"PostgreSQL {server // 10000} is too old: 14 or newer is needed")
        connection.execute(
            "SELECT set_config('lock_timeout', '60s', true), set_config('statement_timeout', '0', true)"
        )
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        standing = _standing("postgres", _postgres_versions(connection))
        _refuse_newer(standing)
        connection.execute(_TABLE)
        for migration in known("postgres"):
            if migration.name in standing.pending:
                connection.execute(migration.text.encode())
                connection.execute(_INSERT + "(%s, %s)", (migration.version, migration.name))
        return standing.pending


def _sqlite_standing(database: Database) -> Standing:
    assert database.path is not None
    if not database.path.exists():
        return _standing("sqlite", set())
    connection = connect(database.path, read_only=True)
    try:
        return _standing("sqlite", _sqlite_versions(connection))
    finally:
        connection.close()


def _sqlite_versions(connection: sqlite3.Connection) -> set[int]:
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'schema_migration'").fetchone():
        return set()
    return {row[0] for row in connection.execute("SELECT version FROM schema_migration")}


def _migrate_sqlite(database: Database) -> tuple[str, ...]:
    assert database.path is not None
    require_writable(database.path)
    connection = connect(database.path)
    try:
        connection.execute("BEGIN IMMEDIATE")
        standing = _standing("sqlite", _sqlite_versions(connection))
        _refuse_newer(standing)
        connection.execute(_TABLE)
        for migration in known("sqlite"):
            if migration.name in standing.pending:
                for statement in _statements(migration.text):
                    connection.execute(statement)
                connection.execute(_INSERT + "(?, ?)", (migration.version, migration.name))
        connection.execute("COMMIT")
    except sqlite3.Error as e:
        raise translated(e) from e
    finally:
        connection.close()
    return standing.pending


def _statements(text: str) -> list[str]:
    """executescript would commit our transaction first."""
    statements, current = [], ""
    for line in text.splitlines():
        current += line + "\n"
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements
