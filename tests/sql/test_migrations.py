"""Migrations make the committed schema, once, however many processes start at the same time."""

import asyncio
import json
import sys
from pathlib import Path

import psycopg
import pytest

from mailproxy import config
from mailproxy.config import Settings
from mailproxy.errors import ConfigurationError, StorageUnavailable
from sql import migrate, queries
from sql.dump import committed, dump
from sql.open import open_store
from tests.sql.conftest import run_sql
from tests.support.faultproxy import FaultProxy

SEALED = {
    ("instance", "canary"),
    ("instance", "bounce_secret"),
    ("instance", "proof_secret"),
    ("instance", "link_key"),
    ("tenant", "client_auth"),
    ("tenant", "webhook_secrets"),
    ("tenant", "large_file_secrets"),
    ("account", "secret"),
    ("account", "imap_secret"),
    ("body", "logins"),
}
NOT_SEALED = {
    ("tenant_key", "hash"),
    ("kept_answer", "fingerprint"),
    ("inbound_seen", "fingerprint"),
    ("quarantine", "octets"),
    ("parked", "fingerprint"),
    ("parked", "octets"),
    ("large_file", "sha256"),
    ("pec_receipt", "raw"),
    ("content_piece", "octets"),
}


@pytest.fixture
def empty(empty_environ: dict[str, str]) -> Settings:
    return config.load(empty_environ)


def test_migrations_make_the_committed_schema(empty: Settings, dialect: str) -> None:
    migrate.migrate(empty.database)
    assert dump(empty.database) == committed(dialect), "run `python -m tests.sql.regenerate`"


def test_both_dialects_answer_to_the_same_names() -> None:
    assert queries.load("postgres").keys() == queries.load("sqlite").keys()


def test_a_database_says_what_it_has_and_lacks(empty: Settings, dialect: str) -> None:
    names = tuple(m.name for m in migrate.known(dialect))
    assert names[0] == "0001_queue"
    assert migrate.status(empty.database) == ((), names, ())
    assert migrate.migrate(empty.database) == names
    assert migrate.status(empty.database) == (names, (), ())
    assert migrate.migrate(empty.database) == ()


async def test_an_older_schema_is_refused_with_the_command_to_run(empty: Settings) -> None:
    with pytest.raises(ConfigurationError, match="mail-proxy db migrate"):
        await open_store(empty, role="test")
    assert empty.database.path is None or not empty.database.path.exists()


async def test_a_newer_schema_is_refused(settings: Settings) -> None:
    run_sql(settings.database, "INSERT INTO schema_migration (version, name) VALUES (9999, '9999_future')")
    with pytest.raises(ConfigurationError, match="newer release"):
        await open_store(settings, role="test")
    with pytest.raises(ConfigurationError, match="newer release"):
        migrate.migrate(settings.database)
    assert migrate.status(settings.database).unknown == (9999,)


async def test_processes_that_migrate_at_once_do_it_once(
    empty: Settings, empty_environ: dict[str, str]
) -> None:
    code = "import sys, json; from mailproxy import config; from sql import migrate; \
database = config.load(json.loads(sys.argv[1])).database; sys.stdin.readline(); print(len(migrate.migrate(database)))"
    running = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code, json.dumps(empty_environ)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(3)
    ]
    answers = await asyncio.gather(*(process.communicate(b"go\n") for process in running))
    applied = sorted(int(out) for out, _ in answers)
    assert applied == [0, 0, len(migrate.known(empty.database.kind))]
    assert dump(empty.database) == committed(empty.database.kind)


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
def test_a_migration_that_fails_leaves_nothing(empty: Settings) -> None:
    run_sql(empty.database, "CREATE TABLE q (id integer)")
    with pytest.raises(psycopg.errors.DuplicateTable):
        migrate.migrate(empty.database)
    assert migrate.status(empty.database).applied == ()
    tables = run_sql(empty.database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    assert tables == [(1,)]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_file_that_is_no_database_is_not_touched(empty: Settings) -> None:
    assert empty.database.path is not None
    text = b"Dear diary, " * 200
    empty.database.path.write_bytes(text)
    with pytest.raises(ConfigurationError, match="not an SQLite database"):
        migrate.migrate(empty.database)
    assert empty.database.path.read_bytes() == text


def test_a_folder_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    database = config.database_at(str(tmp_path / "nowhere" / "mail.db"))
    with pytest.raises(ConfigurationError):
        migrate.migrate(database)


async def test_a_server_that_does_not_answer_is_reported() -> None:
    async with FaultProxy("127.0.0.1", 9) as proxy:
        proxy.refusing = True
        database = config.database_at(f"postgresql://nobody@{proxy.host}:{proxy.port}/none")
        with pytest.raises(StorageUnavailable):
            await asyncio.to_thread(migrate.status, database)


def test_no_sealed_column_is_forgotten(settings: Settings, dialect: str) -> None:
    if dialect == "postgres":
        columns = run_sql(
            settings.database,
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE data_type = 'bytea' AND table_schema = 'public'",
        )
    else:
        columns = run_sql(
            settings.database,
            "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE c.type = 'BLOB'",
        )
    assert {*columns} == SEALED | NOT_SEALED, "upkeep.sql must seal it anew (`sealed_values`, `reseal_…`)"
