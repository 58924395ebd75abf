"""Makes a database large without the API: accounts, queue rows and finished messages by the hundred thousand."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from loadtests import driver
from loadtests.limit import DETAIL
from mailproxy.config import Database
from sql.sqlite import engine as sqlite

Row = tuple[Any, ...]

_NUMBERS = {
    "postgres": "generate_series({first}, {last}) AS n(i)",
    "sqlite": (
        "(WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last}) SELECT i FROM n) AS n"
    ),
}
_NOW = {"postgres": "now() + interval '1 second' *", "sqlite": "strftime('%s', 'now') +"}
_TRUE = {"postgres": "true", "sqlite": "1"}
_FALSE = {"postgres": "false", "sqlite": "0"}


@dataclass(frozen=True, slots=True)
class Shape:
    """How filled rows look: `due_in` and `priority` are SQL over `i`, in seconds; `accounts` are taken in turns.

    Finished ones were sent; `is_reported` says whether somebody has been told.
    """

    prefix: str
    tenant: int
    accounts: Sequence[int]
    due_in: str = "-60"
    priority: str = "2"
    is_finished: bool = False
    is_reported: bool = True
    body: str = driver.TEXT


class Filler:
    """Runs statements on a connection of its own; each is committed."""

    def __init__(self, database: Database) -> None:
        self._dialect = database.kind
        self._server: psycopg.Connection[Row] | None = None
        if database.kind == "postgres":
            self._server = psycopg.connect(database.url, autocommit=True)
        else:
            self._file: sqlite3.Connection = sqlite.connect(Path(database.url))

    def run(self, statement: str) -> list[Row]:
        if self._server is None:
            return self._file.execute(statement).fetchall()
        found = self._server.execute(statement.encode())
        return found.fetchall() if found.description else []

    def close(self) -> None:
        (self._server or self._file).close()

    def rows(self, shape: Shape, count: int, *, first: int = 0) -> None:
        """`count` messages of that shape, numbered from `first` as `driver.ids` numbers them."""
        numbers = _NUMBERS[self._dialect].format(first=first, last=first + count - 1)
        (former,) = self.run("SELECT coalesce(max(id), 0) FROM message")[0]
        status, done = ("1", self._moment("-60")) if shape.is_finished else ("0", "NULL")
        self.run(
            "INSERT INTO message (tenant_pk, account_pk, client_id, priority, status, attempts, created_at,"
            " updated_at, done_at)"
            f" SELECT {shape.tenant}, {self._account(shape.accounts)}, {self._id(shape.prefix)}, {shape.priority},"
            f" {status}, {status}, {self._moment('-120')}, {self._moment('-60')}, {done} FROM {numbers}"
        )
        self.run(
            f"INSERT INTO body (message_id, payload) SELECT id, {self._payload(shape.body)}"
            f" FROM message WHERE id > {former} ORDER BY id"
        )
        if shape.is_finished:
            self._finished(shape, former)
        else:
            self._queued(shape, former)

    def certified(self) -> None:
        """All finished messages become certified mail, each with a recipient and a receipt; of some the acceptance
        is missing."""
        done = "FROM message WHERE done_at IS NOT NULL"
        look = f"CASE WHEN id % 100 = 0 THEN {self._moment('-60')} END"
        self.run(
            f"INSERT INTO pec_message (message_id, tenant_pk, look_at) SELECT id, tenant_pk, {look} {done}"
        )
        self.run(
            "INSERT INTO pec_recipient (message_id, rcpt, address, state)"
            f" SELECT id, 0, client_id || '@example.com', 'accepted' {done}"
        )
        self.run(
            "INSERT INTO recipient_state (message_id, rcpt, accepted, address)"
            f" SELECT id, 0, {_TRUE[self._dialect]}, client_id || '@example.com' {done}"
        )
        empty = "''" if self._server is not None else "x''"
        self.run(
            "INSERT INTO pec_receipt (tenant_pk, message_id, client_id, n, said, outcome, received_at, raw)"
            f" SELECT tenant_pk, id, client_id, 1, '{{}}', 'applied', done_at, {empty} {done}"
        )

    def contents(self) -> None:
        """All finished messages have a content each, of one piece."""
        self.run(
            "INSERT INTO content (tenant_pk, sha256, is_whole, look_at)"
            f" SELECT tenant_pk, client_id, {_TRUE[self._dialect]}, {self._moment('id')}"
            " FROM message WHERE done_at IS NOT NULL"
        )
        empty = "''" if self._server is not None else "x''"
        self.run(f"INSERT INTO content_piece (content_pk, n, octets) SELECT pk, 0, {empty} FROM content")
        self.run(
            "INSERT INTO message_content (message_id, content_pk) SELECT m.id, c.pk"
            " FROM message m JOIN content c ON c.tenant_pk = m.tenant_pk AND c.sha256 = m.client_id"
        )

    def suppressed(self, tenant: int, count: int) -> None:
        numbers = _NUMBERS[self._dialect].format(first=1, last=count)
        self.run(
            "INSERT INTO suppression (tenant_pk, address, reason, created_at)"
            f" SELECT {tenant}, 'a' || i || '@example.org', 'manual', {self._moment('-60')} FROM {numbers}"
        )

    def tenants(self, count: int) -> None:
        """Tenants of one account each."""
        numbers = _NUMBERS[self._dialect].format(first=1, last=count)
        self.run(f"INSERT INTO tenant (id) SELECT 'filled' || i FROM {numbers}")
        self.run(
            "INSERT INTO account (tenant_pk, id, host, port)"
            " SELECT pk, 'main', '127.0.0.1', 25 FROM tenant WHERE id LIKE 'filled%'"
        )

    def mailboxes(self, mails: int) -> None:
        """Of some tenants' accounts, each with mails that were read and one that is parked."""
        numbers = _NUMBERS[self._dialect].format(first=1, last=mails)
        self.run("UPDATE account SET imap_host = '127.0.0.1' WHERE pk % 100 = 0")
        self.run(
            "INSERT INTO mailbox (account_pk, place) SELECT pk, 'x' FROM account WHERE imap_host IS NOT NULL"
        )
        octets = (
            "CAST(pk || ' ' || i AS bytea)" if self._server is not None else "CAST(pk || ' ' || i AS BLOB)"
        )
        self.run(
            "INSERT INTO inbound_seen (mailbox_pk, fingerprint, uidvalidity, uid, verdict, at)"
            f" SELECT pk, {octets}, 1, i, 'applied', {self._moment('i')} FROM mailbox CROSS JOIN {numbers}"
        )
        self.run(
            "INSERT INTO parked (mailbox_pk, fingerprint, octets, next_try_at, until)"
            " SELECT mailbox_pk, fingerprint, fingerprint, at, at FROM inbound_seen WHERE uid % 10 = 0"
        )

    def _queued(self, shape: Shape, former: int) -> None:
        self.run(
            "INSERT INTO q (id, tenant_pk, account_pk, due_at, expires_at, priority, held)"
            f" SELECT id, tenant_pk, account_pk, {self._moment(f'({shape.due_in})')}, {self._moment('432000')},"
            f" priority, {_FALSE[self._dialect]}"
            f" FROM (SELECT *, id - {former + 1} AS i FROM message WHERE id > {former}) AS m ORDER BY id"
        )

    def _finished(self, shape: Shape, former: int) -> None:
        (before,) = self.run("SELECT coalesce(max(id), 0) FROM event")[0]
        self.run(
            "INSERT INTO event (tenant_pk, message_id, kind, detail, at)"
            f" SELECT tenant_pk, id, 'sent', '{DETAIL}', done_at FROM message WHERE id > {former} ORDER BY id"
        )
        if not shape.is_reported:
            self.run(
                "INSERT INTO outbox (event_id, tenant_pk, message_id)"
                f" SELECT id, tenant_pk, message_id FROM event WHERE id > {before} ORDER BY id"
            )

    def analyze(self) -> None:
        """What autovacuum does within a minute; SQLite plans without."""
        if self._server is not None:
            self.run("VACUUM ANALYZE")

    def size(self, table: str) -> int:
        """Octets of a table with its indexes."""
        if self._server is not None:
            return int(self.run(f"SELECT pg_total_relation_size('{table}')")[0][0])
        named = f"SELECT name FROM sqlite_schema WHERE tbl_name = '{table}'"
        return int(self.run(f"SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name IN ({named})")[0][0])

    def _moment(self, seconds: str) -> str:
        return f"{_NOW[self._dialect]} {seconds}"

    def _id(self, prefix: str) -> str:
        if self._server is not None:
            return f"'{prefix}' || lpad(i::text, greatest(6, length(i::text)), '0')"
        return f"printf('{prefix}%06d', i)"

    def _account(self, accounts: Sequence[int]) -> str:
        if len(accounts) == 1:
            return str(accounts[0])
        if self._server is not None:
            return f"(ARRAY{list(accounts)})[1 + i % {len(accounts)}]"
        return f"json_extract('{json.dumps(list(accounts))}', '$[' || (i % {len(accounts)}) || ']')"

    def _payload(self, body: str) -> str:
        """The canonical form that the API stores, with the message's id in it."""
        mark = "\x00"
        message = {"id": mark, "from": "Bench <bench@example.org>", "to": [f"{mark}@example.com"]}
        text = json.dumps(message | {"subject": f"Invoice {mark}", "body": body}).replace("'", "''")
        return " || client_id || ".join(f"'{part}'" for part in text.split(json.dumps(mark)[1:-1]))
