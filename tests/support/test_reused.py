"""A database that is used again is as the migrations left it, and one that cannot be is replaced."""

import psycopg
import pytest

from mailproxy import config
from mailproxy.records import TenantWrite
from sql.dump import dump
from sql.open import open_store
from tests.conftest import KEY
from tests.support import reused
from tests.support.reused import ReusedDatabase


def _run(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def _contents(url: str) -> dict[str, bytes]:
    """Schema, rows and sequences."""
    found = {"schema": dump(config.database_at(url)).encode()}
    with psycopg.connect(url) as connection:
        relations = "SELECT relkind::text, oid::regclass::text FROM pg_class \
            WHERE relkind IN ('r', 'S') AND relnamespace = 'public'::regnamespace"
        for kind, name in connection.execute(relations.encode()).fetchall():
            columns = "last_value, is_called" if kind == "S" else "*"
            with connection.cursor().copy(f"COPY (SELECT {columns} FROM {name}) TO STDOUT".encode()) as rows:
                found[name] = b"".join(bytes(row) for row in rows)
    return found


async def test_it_holds_what_the_migrations_left_and_nothing_else(
    reused_postgres: ReusedDatabase, migrated_postgres: str
) -> None:
    url = reused_postgres.lend()
    assert _contents(url) == _contents(migrated_postgres)
    settings = config.load({"GMP_DATABASE_URL": url, "MAIL_PROXY_ENCRYPTION_KEY": KEY, "GMP_API_TOKEN": "t"})
    store = await open_store(settings, role="test")
    await store.directory.put_tenant(TenantWrite(id="acme"), None, None)
    await store.aclose()
    _run(url, "DELETE FROM schema_migration; UPDATE instance SET bits = bits + 1")
    assert _contents(url) != _contents(migrated_postgres)

    assert reused_postgres.lend() == url
    assert _contents(url) == _contents(migrated_postgres)


def test_who_is_still_connected_is_sent_away(reused_postgres: ReusedDatabase) -> None:
    url = reused_postgres.lend()
    left = psycopg.connect(url)
    left.execute("LOCK TABLE message")
    assert reused_postgres.lend() == url
    with pytest.raises(psycopg.OperationalError):
        left.execute("SELECT 1")
    left.close()


DEEDS = (
    "ALTER TABLE message ADD COLUMN colour text",
    "ALTER TABLE tenant ALTER COLUMN id DROP NOT NULL",
    "ALTER TABLE message SET (fillfactor = 50)",
    "CREATE INDEX more ON message (account_pk)",
    "DROP INDEX {index}",
    "CREATE TABLE more (id integer)",
    "CREATE SCHEMA other",
    "ALTER TABLE procrastinate_jobs DISABLE TRIGGER ALL",
    "CREATE OR REPLACE FUNCTION procrastinate_unlink_periodic_defers_v1() RETURNS trigger LANGUAGE plpgsql "
    "AS 'BEGIN RETURN OLD; END'",
    "ALTER DATABASE {database} SET synchronous_commit = off",
    "ALTER DATABASE {database} CONNECTION LIMIT 0",
    "GRANT SELECT ON message TO public",
)


def test_whatever_changes_more_than_rows_shows(reused_postgres: ReusedDatabase) -> None:
    with psycopg.connect(reused_postgres.lend(new=True)) as connection:
        before = reused.shape(connection)
        index = "SELECT indexname FROM pg_indexes WHERE tablename = 'message' AND indexname NOT LIKE '%key' LIMIT 1"
        ((name,),) = connection.execute(index.encode()).fetchall()
        connection.execute("ANALYZE")
        connection.execute("INSERT INTO schema_migration (version, name) VALUES (9999, 'x')")
        assert reused.shape(connection) == before
        for deed in DEEDS:
            with connection.transaction(force_rollback=True):
                connection.execute(deed.format(index=name, database=connection.info.dbname).encode())
                assert reused.shape(connection) != before, deed
        assert reused.shape(connection) == before


def test_a_changed_one_is_replaced(reused_postgres: ReusedDatabase, migrated_postgres: str) -> None:
    url = reused_postgres.lend()
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    _run(url, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    another = reused_postgres.lend()
    assert another != url
    assert _contents(another) == _contents(migrated_postgres)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


def test_one_that_was_used_often_is_replaced(
    reused_postgres: ReusedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = reused_postgres.lend()
    monkeypatch.setattr(reused, "USES", 1)
    assert reused_postgres.lend() != first


def test_one_in_which_much_was_deleted_is_replaced(
    reused_postgres: ReusedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = reused_postgres.lend()
    monkeypatch.setattr(reused, "GROWTH", 100_000)
    _run(first, "INSERT INTO schema_migration SELECT n, repeat('x', 1000) FROM generate_series(9000, 9999) n")
    assert reused_postgres.lend() != first
