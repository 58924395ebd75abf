"""A shop in FastAPI: it mails a receipt for each order and hears what became of it.

    uvicorn fastapi_shop:app --port 8080

GMP_URL and GMP_API_TOKEN (the tenant's key) say where mailproxy is, SHOP_WEBHOOK_SECRETS (with spaces between
them) what signs its calls, SHOP_DATABASE where the orders are kept. The tenant's client_base_url is this server.
"""

import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from mailproxy.client import AsyncMailProxyClient, NothingAdded, Report, SignatureRefused, reports_in

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (number TEXT PRIMARY KEY, email TEXT, state TEXT, error TEXT);
CREATE TABLE IF NOT EXISTS heard (event_id INTEGER PRIMARY KEY);
"""


class Order(BaseModel):
    number: str
    email: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client, with its connections, for as long as the application runs."""
    async with AsyncMailProxyClient(os.environ["GMP_URL"], os.environ["GMP_API_TOKEN"]) as proxy:
        app.state.proxy = proxy
        yield


app = FastAPI(lifespan=lifespan)


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """A connection whose changes are committed together at the end."""
    with closing(sqlite3.connect(os.environ.get("SHOP_DATABASE", "shop.db"), timeout=10)) as db, db:
        db.executescript(SCHEMA)
        yield db


@app.post("/orders", status_code=202)
async def order(order: Order) -> Order:
    await run_in_threadpool(keep, order)
    receipt = {
        "id": f"order-{order.number}",  # posted again, it is still one message
        "account_id": "main",
        "from": "Shop <shop@example.com>",
        "to": order.email,
        "subject": f"Your order {order.number}",
        "body": "Thank you.",
    }
    try:
        await app.state.proxy.messages.add(receipt)
    except NothingAdded as refused:
        if refused.rejected[0].code not in ("already_sent", "being_sent"):
            raise HTTPException(422, refused.rejected[0].reason) from None
    return order


def keep(order: Order) -> None:
    with database() as db:
        db.execute("INSERT OR IGNORE INTO orders VALUES (?, ?, 'mailed', NULL)", (order.number, order.email))


@app.get("/orders/{number}")
def show(number: str) -> dict[str, str | None]:
    with database() as db:
        found = db.execute("SELECT state, error FROM orders WHERE number = ?", (number,)).fetchone()
    if not found:
        raise HTTPException(404)
    return {"state": found[0], "error": found[1]}


@app.post("/mail-proxy/sync")
async def sync(request: Request) -> dict[str, bool]:
    """Nothing is believed that is not signed; nothing is acknowledged that is not kept."""
    try:
        reports = reports_in(
            await request.body(), request.headers, os.environ["SHOP_WEBHOOK_SECRETS"].split()
        )
    except SignatureRefused as refused:
        raise HTTPException(401, refused.detail) from None
    await run_in_threadpool(hear, reports)
    return {"ok": True}


def hear(reports: list[Report]) -> None:
    with database() as db:
        for one in reports:
            if db.execute("INSERT OR IGNORE INTO heard VALUES (?)", (one.event_id,)).rowcount:
                number = one.id.removeprefix("order-")
                state = (one.event_type, one.error, number)
                db.execute("UPDATE orders SET state = ?, error = ? WHERE number = ?", state)
