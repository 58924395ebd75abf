"""The hot path reads by index whatever the queue's length: no plan may scan or hash q."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from mailproxy.config import Settings
from sql import queries

pytestmark = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)

FILL = """
INSERT INTO tenant (id) VALUES ('t');
INSERT INTO account (tenant_pk, id, host, port) SELECT 1, 'a' || i, 'h', 25 FROM generate_series(1, 20) i;
INSERT INTO account_state (account_pk) SELECT pk FROM account;
INSERT INTO process (owner, node, role) VALUES ('o', 'n', 'sender');
INSERT INTO account_lease VALUES (1, 0, 1, now() + interval '1 day');
INSERT INTO rate_limit VALUES (1, 1, 'minute', 5, 12, 1000);
INSERT INTO message (tenant_pk, account_pk, client_id, priority)
SELECT 1, 1 + i % 20, 'm' || i, i % 4 FROM generate_series(1, ROWS) i;
INSERT INTO body SELECT id, '{}' FROM message;
INSERT INTO q (id, tenant_pk, account_pk, due_at, expires_at, priority)
SELECT id, 1, account_pk, now() + id * interval '1 second', now() + interval '5 days', priority FROM message;
UPDATE q SET epoch = 1, phase = 1, charged_at = now() WHERE id <= 200;
UPDATE q SET due_at = now() - interval '1 minute' WHERE id BETWEEN 201 AND 400;
"""

IDS = list(range(1, 201))
SETTLED = {"id": 1, "status": 1, "kind": "sent", "error": None, "detail": "{}", "delay": 1.0, "refund": 0}
NEW = {
    "client_id": "new",
    "account_pk": 1,
    "priority": 2,
    "batch_code": None,
    "due_at": None,
    "expires_at": None,
    "max_age": 9.0,
    "error": None,
    "payload": "{}",
}
MINE = {"epoch": 1, "ids": IDS, "fallback": False}
HOT: dict[str, dict[str, Any]] = {
    "claim_lock": {"account": 1, "slot": 0, "epoch": 1},
    "claim": {"account": 1, "slot": 0, "epoch": 1, "limit": 200, "at": None, "longest": 1 << 17},
    "intend_candidates": MINE,
    "intend": MINE | {"at": None},
    "finish": MINE | {"rows": [SETTLED | {"id": id_} for id_ in IDS]},
    "release": MINE | {"rows": [SETTLED | {"id": id_} for id_ in IDS]},
    "recipients_settled": MINE | {"rows": [{"message_id": 1, "rcpt": 0, "accepted": True, "address": "a"}]},
    "late_evidence": MINE | {"rows": [{"id": id_, "revision": 0, "detail": "{}"} for id_ in IDS]},
    "limits_refund": MINE | {"rows": [SETTLED | {"id": id_, "revision": 0, "claim": 1} for id_ in IDS]},
    "enqueue": {
        "tenant": 1,
        "fallback": False,
        "former": 0,
        "rows": [NEW | {"client_id": f"n{i}"} for i in IDS],
    },
    "enqueue_existing_rows": {"tenant": 1, "client_ids": [f"m{i}" for i in IDS]},
    "enqueue_existing": {"tenant": 1, "client_ids": [f"m{i}" for i in IDS]},
    "enqueue_replace": {"tenant": 1, "ids": IDS, "rows": [NEW | {"id": id_} for id_ in IDS]},
    "queued": {"tenant": 1, "at_most": 1000},
    "due_accounts": {"node": "n", "slots": 2},
    "next_due": {"account": 1},
    "cancel": {"tenant": 1, "client_id": "m300", "fallback": False},
}


@pytest.fixture(params=[10_000, 200_000])
def filled(settings: Settings, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(settings.database.url, autocommit=True) as connection:
        connection.execute(FILL.replace("ROWS", str(request.param)).encode())
        yield connection


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def complaint(plan: dict[str, Any]) -> str | None:
    """What this plan does that costs more the longer the queue is."""
    for node in nodes(plan):
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in {"q", "message", "body", "event"}:
            return f"scans {node['Relation Name']}"
        if node["Node Type"] == "Hash" and any(
            below.get("Relation Name") == "q" and "Index Cond" not in below for below in nodes(node)
        ):
            return "hashes q"
    return None


def plan_of(connection: psycopg.Connection[Any], statement: str, params: dict[str, Any]) -> dict[str, Any]:
    bound = params | {"rows": json.dumps(params["rows"])} if "rows" in params else params
    found = connection.execute(b"EXPLAIN (FORMAT JSON) " + statement.encode(), bound).fetchone()
    assert found is not None
    plan: dict[str, Any] = found[0][0]["Plan"]
    return plan


def test_no_hot_statement_reads_the_whole_queue(filled: psycopg.Connection[Any]) -> None:
    complaints = {}
    for statistics in ("none", "fresh"):
        for name, params in HOT.items():
            for statement in queries.load("postgres")[name].statements:
                if found := complaint(plan_of(filled, statement, params)):
                    complaints[name, statistics] = found
        filled.execute("ANALYZE")
    assert complaints == {}
