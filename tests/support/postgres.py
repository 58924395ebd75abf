"""A PostgreSQL for the tests: the one of MAILPROXY_TEST_POSTGRES_URL, else the wheel's, on a folder of its own."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from mailproxy.demo import postgres as throw_away
from tests.support import memory


@contextmanager
def server() -> Iterator[str]:
    """The URL of a running server's maintenance database."""
    given = os.environ.get("MAILPROXY_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with throw_away.server(memory.folder()) as url:
        yield url


@contextmanager
def database(maintenance: str, *, template: str | None = None) -> Iterator[str]:
    """A fresh database, or a copy of the one whose URL `template` is; dropped afterwards; yields its URL."""
    name = f"mp_{uuid.uuid4().hex[:12]}"
    origin = psycopg.conninfo.conninfo_to_dict(template)["dbname"] if template else "template1"
    with psycopg.connect(maintenance, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{origin}"'.encode())
    try:
        yield (
            psycopg.conninfo.make_conninfo(maintenance, dbname=name)
            if "://" not in maintenance
            else _renamed(maintenance, name)
        )
    finally:
        with psycopg.connect(maintenance, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())


def _renamed(url: str, name: str) -> str:
    base, _, query = url.partition("?")
    head = base.rsplit("/", 1)[0]
    return f"{head}/{name}" + (f"?{query}" if query else "")
