"""A shop in Flask: it mails a receipt for each order and hears what became of it.

    flask --app flask_shop run --port 8080

GMP_URL and GMP_API_TOKEN (the tenant's key) say where mailproxy is, SHOP_WEBHOOK_SECRETS (with spaces between
them) what signs its calls, SHOP_DATABASE where the orders are kept. The tenant's client_base_url is this server.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from flask import Flask, abort, jsonify, request

from mailproxy.client import MailProxyClient, NothingAdded, SignatureRefused, reports_in

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (number TEXT PRIMARY KEY, email TEXT, state TEXT, error TEXT);
CREATE TABLE IF NOT EXISTS heard (event_id INTEGER PRIMARY KEY);
"""

app = Flask(__name__)
proxy = MailProxyClient(os.environ["GMP_URL"], os.environ["GMP_API_TOKEN"])


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """A connection whose changes are committed together at the end."""
    with closing(sqlite3.connect(os.environ.get("SHOP_DATABASE", "shop.db"), timeout=10)) as db, db:
        db.executescript(SCHEMA)
        yield db


@app.post("/orders")
def order():
    number, email = str(request.json["number"]), request.json["email"]
    with database() as db:
        db.execute("INSERT OR IGNORE INTO orders VALUES (?, ?, 'mailed', NULL)", (number, email))
    receipt = {
        "id": f"order-{number}",  # posted again, it is still one message
        "account_id": "main",
        "from": "Shop <shop@example.com>",
        "to": email,
        "subject": f"Your order {number}",
        "body": "Thank you.",
    }
    try:
        proxy.messages.add(receipt)
    except NothingAdded as refused:
        if refused.rejected[0].code not in ("already_sent", "being_sent"):
            return jsonify(error=refused.rejected[0].reason), 422
    return jsonify(number=number), 202


@app.get("/orders/<number>")
def show(number: str):
    with database() as db:
        found = db.execute("SELECT state, error FROM orders WHERE number = ?", (number,)).fetchone()
    return jsonify(state=found[0], error=found[1]) if found else abort(404)


@app.post("/mail-proxy/sync")
def sync():
    """Nothing is believed that is not signed; nothing is acknowledged that is not kept."""
    try:
        reports = reports_in(request.get_data(), request.headers, os.environ["SHOP_WEBHOOK_SECRETS"].split())
    except SignatureRefused as refused:
        abort(401, refused.detail)
    with database() as db:
        for one in reports:
            if db.execute("INSERT OR IGNORE INTO heard VALUES (?)", (one.event_id,)).rowcount:
                number = one.id.removeprefix("order-")
                state = (one.event_type, one.error, number)
                db.execute("UPDATE orders SET state = ?, error = ? WHERE number = ?", state)
    return jsonify(ok=True)
