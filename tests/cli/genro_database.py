"""Databases as genro-mail-proxy 0.5 and 0.6 leave them (REFERENCE §27)."""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mailproxy.config import Database, database_at
from tests.sql.conftest import run_sql

OLD_KEY = b"o" * 32
TOKEN = "tenant-key-of-old"

_TENANTS = (
    "CREATE TABLE tenants (id TEXT PRIMARY KEY, name TEXT, client_auth TEXT, client_base_url TEXT,"
    " client_sync_path TEXT, client_attachment_path TEXT, rate_limits TEXT, large_file_config TEXT,"
    " active INTEGER DEFAULT 1, suspended_batches TEXT, api_key_hash TEXT, api_key_expires_at {time})"
)
_SERVER = (
    "host TEXT, port INTEGER, {user} TEXT, password TEXT, ttl INTEGER, limit_per_minute INTEGER,"
    " limit_per_hour INTEGER, limit_per_day INTEGER, limit_behavior TEXT, use_tls INTEGER, batch_size INTEGER"
)
_IMAP = "is_pec_account INTEGER DEFAULT 0, imap_host TEXT"
_SCHEMAS = {
    "0.5": (
        _TENANTS,
        f"CREATE TABLE accounts (id TEXT PRIMARY KEY, tenant_id TEXT, {_SERVER})",
        "CREATE TABLE messages (id TEXT PRIMARY KEY, account_id TEXT, priority INTEGER, payload TEXT,"
        " batch_code TEXT, deferred_ts INTEGER, sent_ts INTEGER, error_ts INTEGER, error TEXT,"
        " created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)",
    ),
    "0.6": (
        _TENANTS,
        f"CREATE TABLE accounts (pk TEXT PRIMARY KEY, id TEXT, tenant_id TEXT, {_SERVER}, {_IMAP},"
        " UNIQUE (tenant_id, id))",
        "CREATE TABLE messages (pk TEXT PRIMARY KEY, id TEXT, tenant_id TEXT, account_id TEXT,"
        " priority INTEGER, payload TEXT, batch_code TEXT, deferred_ts INTEGER, smtp_ts INTEGER,"
        " is_pec INTEGER, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, UNIQUE (tenant_id, id))",
    ),
}


def encrypted(text: str) -> str:
    nonce = os.urandom(12)
    return "ENC:" + base64.b64encode(nonce + AESGCM(OLD_KEY).encrypt(nonce, text.encode(), None)).decode()


class GenroDatabase:
    """Rows are given by their columns; what a release has no column for is left out."""

    def __init__(self, address: str | Path, release: str) -> None:
        self.address = str(address)
        self.release = release
        self._database: Database = database_at(self.address)
        user = '"user"'
        for statement in _SCHEMAS[release]:
            self._run(statement.replace("{time}", "TIMESTAMP").replace("{user}", user))

    def tenant(self, **columns: Any) -> None:
        self._insert("tenants", columns)

    def account(self, **columns: Any) -> None:
        given = {"host": "smtp.example.com", "port": 587, "limit_behavior": "defer", "ttl": 300} | columns
        self._insert("accounts", self._with_pk(given))

    def message(self, id_: str, account_id: str, *, tenant_id: str = "acme", **columns: Any) -> None:
        payload = {
            "id": id_,
            "account_id": account_id,
            "from": "Ann <ann@example.com>",
            "to": ["bob@example.org"],
            "subject": "Hello",
            "body": "Good morning.",
            "content_type": "plain",
            "retry_count": 1,
        } | columns.pop("payload", {})
        given = {"id": id_, "account_id": account_id, "priority": 2, "payload": json.dumps(payload)} | columns
        if self.release == "0.6":
            given = self._with_pk(given | {"tenant_id": tenant_id})
        self._insert("messages", given)

    def _with_pk(self, columns: dict[str, Any]) -> dict[str, Any]:
        return columns | ({"pk": os.urandom(8).hex()} if self.release == "0.6" else {})

    def _insert(self, table: str, columns: dict[str, Any]) -> None:
        names = ", ".join(f'"{name}"' for name in columns)
        marks = ", ".join("?" for _ in columns)
        self._run(f"INSERT INTO {table} ({names}) VALUES ({marks})", *columns.values())

    def _run(self, statement: str, *params: object) -> Sequence[tuple[Any, ...]]:
        return run_sql(self._database, statement, *params)


def filled(address: str | Path, release: str) -> GenroDatabase:
    """Two tenants, three accounts and messages of every fate."""
    found = GenroDatabase(address, release)
    found.tenant(
        id="acme",
        name="Acme",
        client_auth=json.dumps({"method": "bearer", "token": "their-token"}),
        client_base_url="https://acme.example",
        rate_limits=json.dumps({"hourly": 100, "daily": 0}),
        active=1,
        suspended_batches="b1",
        api_key_hash=hashlib.sha256(TOKEN.encode()).hexdigest(),
    )
    found.tenant(id="off", active=0, suspended_batches="*")
    found.account(
        id="main", tenant_id="acme", user="ann", password=encrypted("hush-hush"), use_tls=1, limit_per_hour=0
    )
    found.account(
        id="plain", tenant_id="off", user="u", password="in-clear", port=25, limit_behavior="reject"
    )
    found.message("m1", "main", priority=0)
    found.message("m2", "main", batch_code="b1", deferred_ts=2_000_000_000)
    found.message("m3", "plain", tenant_id="off", payload={"content_type": "text/x-odd"})
    if release == "0.5":
        found.message("sent", "main", sent_ts=1_700_000_000)
        found.message("failed", "main", error_ts=1_700_000_000, error="no")
    else:
        found.message("sent", "main", smtp_ts=1_700_000_000)
    return found
