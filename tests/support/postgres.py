"""A PostgreSQL for the tests: the one of MAILPROXY_TEST_POSTGRES_URL, else the wheel's, on a folder of its own."""

import json
import os
import shutil
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
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
    if in_memory := memory.folder():
        remove_orphans(in_memory)
    with throw_away.server(in_memory) as url:
        yield url


def remove_orphans(within: Path) -> None:
    """Servers whose tests were killed, and their folders: in memory they would add up."""
    for starters in within.glob("mailproxy-pg-*/data/.handle_pids.json"):
        with suppress(OSError, ValueError, psutil.Error):
            if any(psutil.pid_exists(pid) for pid in json.loads(starters.read_text())):
                continue
            with suppress(FileNotFoundError, psutil.NoSuchProcess):
                server = psutil.Process(
                    int(starters.with_name("postmaster.pid").read_text().split("\n", 1)[0])
                )
                if str(starters.parent) in server.cmdline():  # the number may be another's by now
                    server.send_signal(signal.SIGQUIT)
            shutil.rmtree(starters.parents[1], ignore_errors=True)


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
