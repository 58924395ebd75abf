"""A migrated PostgreSQL database that one test after the other has to itself, emptied in between."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import LiteralString, NamedTuple

import psycopg
from psycopg import sql

from tests.support import postgres

USES = 100  # dead rows and odd statistics add up
GROWTH = 32 << 20
PATIENCE_MS = 5000

_OPTIONS = "-c default_transaction_read_only=off -c lock_timeout=10s -c statement_timeout=30s"

_LEFT: LiteralString = """
    SELECT count(*) FILTER (WHERE NOT pg_terminate_backend(pid, %s)) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""

# Whatever changes a schema writes its rows of the catalogue anew; VACUUM and ANALYZE change them in place.
_SHAPE: LiteralString = """
    SELECT md5(string_agg(place || ' ' || version, ',' ORDER BY place)) FROM (
        SELECT 'class ' || oid, xmin::text FROM pg_class WHERE oid >= 16384
        UNION ALL SELECT 'column ' || attrelid || ' ' || attnum, xmin::text FROM pg_attribute WHERE attrelid >= 16384
        UNION ALL SELECT 'default ' || oid, xmin::text FROM pg_attrdef WHERE oid >= 16384
        UNION ALL SELECT 'constraint ' || oid, xmin::text FROM pg_constraint WHERE oid >= 16384
        UNION ALL SELECT 'index ' || indexrelid, xmin::text FROM pg_index WHERE indexrelid >= 16384
        UNION ALL SELECT 'function ' || oid, xmin::text FROM pg_proc WHERE oid >= 16384
        UNION ALL SELECT 'trigger ' || oid, xmin::text FROM pg_trigger WHERE oid >= 16384
        UNION ALL SELECT 'rule ' || oid, xmin::text FROM pg_rewrite WHERE oid >= 16384
        UNION ALL SELECT 'type ' || oid, xmin::text FROM pg_type WHERE oid >= 16384
        UNION ALL SELECT 'label ' || oid, xmin::text FROM pg_enum WHERE oid >= 16384
        UNION ALL SELECT 'policy ' || oid, xmin::text FROM pg_policy
        UNION ALL SELECT 'event trigger ' || oid, xmin::text FROM pg_event_trigger
        UNION ALL SELECT 'extension ' || oid, xmin::text FROM pg_extension
        UNION ALL SELECT 'schema ' || oid, xmin::text FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'
        UNION ALL SELECT 'large object ' || oid, xmin::text FROM pg_largeobject_metadata
        UNION ALL SELECT 'setting ' || setdatabase || ' ' || setrole, setconfig::text FROM pg_db_role_setting
            WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
        UNION ALL SELECT 'database ' || oid, xmin::text FROM pg_database WHERE datname = current_database()
    ) AS catalogue (place, version)"""

_RELATIONS: LiteralString = """
    SELECT oid::regclass::text FROM pg_class
    WHERE relkind = %s AND relnamespace = 'public'::regnamespace ORDER BY 1"""


class Spoiled(Exception):
    """A test left more than rows behind."""


class _Origin(NamedTuple):
    """What a database was when nothing had happened to it."""

    shape: str
    size: int
    rows: dict[str, bytes]
    emptying: sql.Composed

    @classmethod
    def of(cls, connection: "psycopg.Connection[tuple[str, ...]]") -> "_Origin":
        tables = [name for (name,) in connection.execute(_RELATIONS, ("r",))]
        kept = {name: _rows(connection, name) for name in tables}
        deletes = [sql.SQL(f"DELETE FROM {name}") for name in tables]  # type: ignore[arg-type] # quoted by regclass
        return cls(
            shape(connection),
            _size(connection),
            {name: rows for name, rows in kept.items() if rows},
            sql.SQL(";").join([*deletes, *_sequences(connection)]),
        )


class ReusedDatabase:
    """`lend` gives the URL of a database as the migrations left it: the last one emptied, or a new one."""

    def __init__(self, maintenance: str, template: str) -> None:
        self._maintenance = maintenance
        self._template = template
        self._dropping = ExitStack()
        self._url: str | None = None
        self._origin: _Origin
        self._uses = 0

    def lend(self, *, new: bool = False) -> str:
        if new or self._url is None or not self._emptied(self._url):
            self.close()
            self._url = self._new()
        self._uses += 1
        return self._url

    def close(self) -> None:
        self._url = None
        self._dropping.close()

    def _new(self) -> str:
        url = self._dropping.enter_context(postgres.database(self._maintenance, template=self._template))
        with _beside(url) as connection:
            self._origin = _Origin.of(connection)
        self._uses = 0
        return url

    def _emptied(self, url: str) -> bool:
        if self._uses >= USES:
            return False
        try:
            with _beside(url) as connection:
                _empty(connection, self._origin)
        except (psycopg.Error, Spoiled):
            return False
        return True


def _empty(connection: "psycopg.Connection[tuple[str, ...]]", origin: _Origin) -> None:
    if connection.execute(_LEFT, (PATIENCE_MS,)).fetchone() != (0,):
        raise Spoiled("somebody is connected and stays")
    if shape(connection) != origin.shape:
        raise Spoiled("the schema is another")
    if _size(connection) > origin.size + GROWTH:
        raise Spoiled("what was deleted is in the way")
    # Neither foreign keys nor triggers have a say.
    connection.execute("SET LOCAL session_replication_role = replica")
    connection.execute(origin.emptying)
    for name, rows in origin.rows.items():
        with connection.cursor().copy(f"COPY {name} FROM STDIN".encode()) as copy:
            copy.write(rows)


@contextmanager
def _beside(url: str) -> "Iterator[psycopg.Connection[tuple[str, ...]]]":
    """A transaction that what a test set for the database does not reach."""
    with psycopg.connect(url, options=_OPTIONS, prepare_threshold=None) as connection:
        yield connection


def shape(connection: "psycopg.Connection[tuple[str, ...]]") -> str:
    return str(connection.execute(_SHAPE).fetchall()[0][0])


def _size(connection: "psycopg.Connection[tuple[str, ...]]") -> int:
    return int(connection.execute("SELECT pg_database_size(current_database())").fetchall()[0][0])


def _rows(connection: "psycopg.Connection[tuple[str, ...]]", table: str) -> bytes:
    with connection.cursor().copy(f"COPY {table} TO STDOUT".encode()) as copy:
        return b"".join(copy)


def _sequences(connection: "psycopg.Connection[tuple[str, ...]]") -> list[sql.Composed]:
    """Statements that set them to where they are now."""
    names = [name for (name,) in connection.execute(_RELATIONS, ("S",))]
    return [
        sql.SQL("SELECT setval({}, {}, {})").format(name, *row)
        for name in names
        for row in connection.execute(f"SELECT last_value, is_called FROM {name}".encode())
    ]
