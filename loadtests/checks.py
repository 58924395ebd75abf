"""What proves that a figure was reached with everything on: durable commits, intents before dots, limits, reports."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from mailproxy.config import Database, database_at
from sql.sqlite import engine as sqlite

Row = tuple[Any, ...]
Look = Callable[[str], list[Row]]


class FigureRefused(Exception):
    """Something that costs time was off, or the far end does not have what it should: no figure."""


def looker(database: Database) -> Look:
    """Runs one SELECT after the other on a connection kept for good: what it sees is committed."""
    return _on(_connect(database))


@contextmanager
def looking(database: Database) -> Iterator[Look]:
    """The same for a while."""
    with closing(_connect(database)) as connection:
        yield _on(connection)


def _connect(database: Database) -> psycopg.Connection[Any] | sqlite3.Connection:
    if database.kind == "postgres":
        return psycopg.connect(database.url, autocommit=True)
    return sqlite.connect(Path(database.url), read_only=True)


def _on(connection: psycopg.Connection[Any] | sqlite3.Connection) -> Look:
    if isinstance(connection, sqlite3.Connection):
        return lambda select: connection.execute(select).fetchall()
    return lambda select: connection.execute(select.encode()).fetchall()


class Probe:
    """Looks up single queue rows from outside the service."""

    def __init__(self, address: str) -> None:
        self._look = looker(database_at(address))

    def phase(self, client_id: str) -> int | None:
        """2 when the intent to send it is committed."""
        found = self._look(
            "SELECT q.phase FROM q JOIN message m ON m.id = q.id"
            f" WHERE m.tenant_pk IN (SELECT pk FROM tenant) AND m.client_id = '{client_id}'"
        )
        return found[0][0] if found else None


def durability(database: Database, look: Look) -> dict[str, str]:
    """The settings that make a commit durable; raises FigureRefused when one is off."""
    if database.kind == "postgres":
        wanted = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
        found = {name: str(look(f"SHOW {name}")[0][0]) for name in wanted}
    else:
        # The setting of a connection: the product opens all of its own with this function.
        wanted = {"journal_mode": "wal", "synchronous": "2"}
        connection = sqlite.connect(Path(database.url))
        found = {name: str(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in wanted}
        connection.close()
    if found != wanted:
        raise FigureRefused(f"commits are not durable: {found}")
    return found


def wal_fsyncs(database: Database, look: Look) -> int | None:
    """How often the server has flushed its log so far; None where nobody counts."""
    if (
        database.kind != "postgres"
        or look("SELECT current_setting('server_version_num')::int")[0][0] < 180000
    ):
        return None
    return int(look("SELECT coalesce(sum(fsyncs), 0) FROM pg_stat_io WHERE object = 'wal'")[0][0])


def arrived_once(ids: Iterable[str], deliveries: Iterable[str | None]) -> None:
    """Every message is in the sink's log, and only once."""
    counted = Counter(deliveries)
    expected = set(ids)
    missing = expected - counted.keys()
    twice = [one for one, times in counted.items() if times > 1]
    if missing or twice:
        raise FigureRefused(f"{len(missing)} messages did not arrive, {len(twice)} arrived more than once")


def intents_preceded(phases: Path, first: int, messages: int, every: int) -> int:
    """How many sampled intents were committed when the dot had come; `first` lines belong to earlier runs."""
    seen = [line.split()[1] for line in phases.read_text().splitlines()[first:]]
    if len(seen) < messages // every - 1 or set(seen) - {"2"}:
        raise FigureRefused(f"intents were not committed before the dot: {Counter(seen)} of {messages}")
    return len(seen)


def events_recorded(look: Look, prefix: str, messages: int) -> None:
    found = look(
        "SELECT count(*) FROM event e JOIN message m ON m.id = e.message_id "
        f"WHERE e.kind = 'sent' AND m.client_id LIKE '{prefix}%'"
    )
    if found[0][0] != messages:
        raise FigureRefused(f"{found[0][0]} events for {messages} messages")


def limits_counted(look: Look, messages: int) -> None:
    """The account's limit was charged for every message."""
    found = look("SELECT coalesce(sum(n), 0) FROM rate_slot WHERE kind = 1")
    if found[0][0] < messages:
        raise FigureRefused(f"the rate limit counted {found[0][0]} of {messages} messages")


def outbox_is_empty(look: Look) -> bool:
    return bool(look("SELECT count(*) FROM outbox")[0][0] == 0)
