"""An application that mails its invoices through mailproxy: it posts them, hears what became of each, and serves
the files that go with them.

    python shop.py serve                       take reports and requests for files (the tenant's client_base_url)
    python shop.py mail 4711 ann@example.org   mail an invoice
    python shop.py list                        what became of the invoices

Environment: GMP_URL and GMP_API_TOKEN (the tenant's key) say where mailproxy is; SHOP_WEBHOOK_SECRETS (with spaces
between them) are what signs its calls, SHOP_FILES_TOKEN is the bearer token in the tenant's client_auth;
SHOP_FOLDER holds the shop's database and files, SHOP_PORT is where it listens.
"""

import hmac
import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mailproxy.client import MailProxyClient, NothingAdded, Report, SignatureRefused, reports_in

FOLDER = Path(os.environ.get("SHOP_FOLDER", "."))
FILES = FOLDER / "files"
MOST = 10_000_000
SCHEMA = """
CREATE TABLE IF NOT EXISTS invoice (number TEXT PRIMARY KEY, address TEXT, state TEXT, error TEXT);
CREATE TABLE IF NOT EXISTS heard (event_id INTEGER PRIMARY KEY);
"""
MAILED = """
INSERT INTO invoice VALUES (?, ?, 'mailed', NULL)
ON CONFLICT (number) DO UPDATE SET address = excluded.address, state = 'mailed', error = NULL WHERE state <> 'sent'
"""


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """A connection whose changes are committed together at the end."""
    with closing(sqlite3.connect(FOLDER / "shop.db", timeout=10)) as connection, connection:
        connection.executescript(SCHEMA)
        yield connection


def mail(number: str, address: str) -> None:
    """Queue the invoice, whose file `serve` hands out when it is its turn. Mailed twice, it is still one message."""
    FILES.mkdir(exist_ok=True)
    file = FILES / f"invoice-{number}.txt"
    file.write_text(f"Invoice {number}\n")
    message = {
        "id": f"invoice-{number}",
        "account_id": "main",
        "from": "Shop <shop@example.com>",
        "to": address,
        "subject": f"Your invoice {number}",
        "body": "Thank you. The invoice is attached.",
        "attachments": [{"filename": file.name, "fetch_mode": "endpoint", "storage_path": file.name}],
    }
    with database() as db:
        db.execute(MAILED, (number, address))
    with MailProxyClient(os.environ["GMP_URL"], os.environ["GMP_API_TOKEN"]) as proxy:
        try:
            proxy.messages.add(message)
        except NothingAdded as refused:  # it is reported, too, as an error
            print(f"not queued: {refused.rejected[0].reason}")


def hear(reports: list[Report]) -> None:
    """Keep what became of the invoices; what was heard before changes nothing."""
    with database() as db:
        for report in reports:
            if db.execute("INSERT OR IGNORE INTO heard VALUES (?)", (report.event_id,)).rowcount:
                db.execute(
                    "UPDATE invoice SET state = ?, error = ? WHERE number = ?",
                    (report.event_type, report.error, report.id.removeprefix("invoice-")),
                )


class Endpoint(BaseHTTPRequestHandler):
    """The two addresses that mailproxy calls."""

    def do_POST(self) -> None:
        body = self.rfile.read(min(int(self.headers.get("Content-Length", "0")), MOST))
        if self.path == "/mail-proxy/sync":
            self.sync(body)
        elif self.path == "/mail-proxy/attachments":
            self.attachment(body)
        else:
            self.reply(404, b"")

    def sync(self, body: bytes) -> None:
        """Nothing is believed that is not signed; nothing is acknowledged that is not kept."""
        try:
            reports = reports_in(body, dict(self.headers), os.environ["SHOP_WEBHOOK_SECRETS"].split())
        except SignatureRefused as refused:
            return self.reply(401, json.dumps({"error": refused.detail}).encode())
        hear(reports)
        return self.reply(200, b'{"ok": true}')

    def attachment(self, body: bytes) -> None:
        """The file named by `storage_path`, for whoever knows the token and for nobody else."""
        expected = f"Bearer {os.environ['SHOP_FILES_TOKEN']}".encode()
        if not hmac.compare_digest(self.headers.get("Authorization", "").encode(), expected):
            return self.reply(401, b"")
        file = (FILES / json.loads(body)["storage_path"]).resolve()
        if not file.is_relative_to(FILES.resolve()) or not file.is_file():
            return self.reply(404, b"")
        return self.reply(200, file.read_bytes(), "application/octet-stream")

    def reply(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(command: str = "", *words: str) -> None:
    if command == "serve":
        with ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("SHOP_PORT", "8080"))), Endpoint) as server:
            print(f"listening on {server.server_port}", flush=True)
            server.serve_forever()
    elif command == "mail":
        mail(*words)
    elif command == "list":
        with database() as db:
            for row in db.execute("SELECT number, state, error FROM invoice ORDER BY number"):
                print(*(column or "" for column in row), sep="\t")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
