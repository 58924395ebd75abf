"""The plans of the statements that run all the time: none may read more the longer the queue is."""

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

import psycopg

from mailproxy.config import Database
from mailproxy.looks import FROM_START
from sql import looks, queries
from sql.sqlite import engine as sqlite
from sql.sqlite.optional import decided

_SCAN = re.compile(r"SCAN (\w+)(.* INDEX )?")

_RANGE = re.compile(r"SEARCH (\w+) USING INTEGER PRIMARY KEY \(rowid[<>]")

GROWING = (
    "q",
    "message",
    "body",
    "event",
    "outbox",
    "recipient_state",
    "suppression",
    "pec_message",
    "pec_recipient",
    "pec_receipt",
    "inbound_seen",
    "parked",
)

IDS = list(range(1, 201))
_SETTLED = {"id": 1, "status": 1, "kind": "sent", "error": None, "detail": "{}", "delay": 1.0, "refund": 0}
_NEW = {
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
_MINE = {"epoch": 1, "ids": IDS, "fallback": False}
_ACCOUNT = {"account": 1, "slot": 0, "epoch": 1}
_TENANT = {"tenant": 1, "epoch": 1, "fallback": False, "limit": 100}
_PAGE = {
    "tenant": 1,
    "after": 0,
    "before": 1 << 62,
    "limit": 1000,
    "size": 1000,
    "active_only": False,
    "status": None,
    "account_id": None,
    "batch_code": None,
    "since": None,
    "until": None,
    "text": None,
    "queue_state": None,
    "payload": True,
}
_RECEIPT = {
    "tenant": 1,
    "client_id": "m000300",
    "message": 300,
    "said": "{}",
    "outcome": "applied",
    "raw": b"",
}

_CONTENT = {"tenant": 1, "sha256": "d000300"}

HOT: Mapping[str, Mapping[str, Any]] = {
    "claim_lock": _ACCOUNT,
    "claim": _ACCOUNT | {"limit": 200, "at": None, "longest": 1 << 17, **looks.since(FROM_START)},
    "next_due": _ACCOUNT | looks.since(FROM_START),
    "intend_candidates": _MINE,
    "intend": _MINE | {"at": None},
    "finish": _MINE | {"rows": [_SETTLED | {"id": id_} for id_ in IDS]},
    "release": _MINE | {"rows": [_SETTLED | {"id": id_} for id_ in IDS]},
    "recipients_settled": _MINE | {"rows": [{"message_id": 1, "rcpt": 0, "accepted": True, "address": "a"}]},
    "late_evidence": _MINE | {"rows": [{"id": id_, "revision": 0, "detail": "{}"} for id_ in IDS]},
    "limits_refund": _MINE | {"rows": [_SETTLED | {"id": id_, "revision": 0, "claim": 1} for id_ in IDS]},
    "enqueue_gate": {"accounts": [1]},
    "enqueue_former": {},
    "enqueue": _TENANT
    | {"former": 1 << 62, "accounts": [1], "rows": [_NEW | {"client_id": f"n{i}"} for i in IDS]},
    "enqueue_existing_rows": {"tenant": 1, "client_ids": [f"m{i:06d}" for i in IDS]},
    "enqueue_existing": {"tenant": 1, "client_ids": [f"m{i:06d}" for i in IDS]},
    "enqueue_replace": {"tenant": 1, "ids": IDS, "rows": [_NEW | {"id": id_} for id_ in IDS]},
    "queued": {"tenant": 1, "at_most": 1000},
    "due_accounts": {"node": "n", "slots": 2, "newer_than": inf},
    "suspect_alone": _ACCOUNT | {"id": 1, "suspect": 1},
    "cancel": _TENANT | {"client_id": "m000300"},
    "claim_tenants": _TENANT | {"interval": 300.0, "ttl": 60.0},
    "next_call_in": _TENANT | {"interval": 300.0},
    "pending_reports": _TENANT | {"limit": 20},
    "acknowledge": _TENANT | {"events": IDS},
    "hold_reports": _TENANT | {"rows": [{"event_id": id_, "wait": 1.0, "cause": ""} for id_ in IDS]},
    "latest_event": {},
    "events_after": {"after": 100, "limit": 100, "missed": [1, 2]},
    "messages": _PAGE,
    "message_window": _PAGE,
    "message_known": {"tenant": 1, "client_id": "m000300"},
    "events": {"tenant": 1, "client_id": "m000300"},
    "history": {"ids": IDS},
    "queue_row": {"message": 300, "most": 1000},
    "account_ids": {"tenant": 1},
    "any_suppressed": {"tenant": 1},
    "suppressed_among": {"tenant": 1, "addresses": [f"a{i}@example.org" for i in IDS]},
    "correlate": {
        "ids": [300],
        "header_id": "<300@example.org>",
        "client_id": "m000300",
        "tenant": None,
        "limit": 20,
    },
    "undisposed": {"mailbox": 1, "limit": 50},
    "next_parked": {"mailbox": 1},
    "forget_seen": {"older_than": 60.0, "limit": 1000},
    "forget_quarantined": {"older_than": 60.0, "limit": 1000},
    "pec_find": {"tenant": 1, "number": 300, "header_id": "<300@example.org>", "client_id": "m000300"},
    "pec_standing": {"message": 300},
    "pec_former": {"tenant": 1, "client_id": "m000300", "message": 300},
    "pec_enter": _RECEIPT,
    "pec_due": {"limit": 1000},
    "pec_still_due": {"ids": IDS[:20]},
    "pec_timed_out": {"ids": IDS[:20]},
    "pec_receipts": {"tenant": 1, "client_id": "m000300"},
    "forget_receipts": {"older_than": 60.0, "limit": 1000},
    "cleanup": {"tenant": None, "older_than": 60.0, "told_within": 60.0, "after": 0, "limit": 1000},
    "messages_of": {"tenant": 1, "account": 1, "after": 0, "limit": 10_000},
    "expire": {"ids": IDS, "fallback": False},
    "content_known": _CONTENT | {"sure": 60.0},
    "content_begin": _CONTENT | {"kept": 60.0},
    "content_piece": _CONTENT | {"n": 0},
    "content_link": {"tenant": 1, "rows": [{"message_id": id_, "sha256": "d000300"} for id_ in IDS]},
    "content_unlink": {"ids": IDS},
    "forget_contents": {"again": 60.0, "limit": 100},
    "forget_contents_of": {"tenant": 2, "limit": 20},
    "delete_tenant": {"tenant": 2},
    "delete_messages": {"tenant": 1, "account": None, "client_ids": [f"m{i:06d}" for i in IDS]},
}
# An account that is closed and deleted gives back what was claimed of it.
OF_ACCOUNT: Mapping[str, Mapping[str, Any]] = {
    "close_account": {"account": 1},
    "delete_account": {"tenant": 2, "id": "main"},
}
# When a process takes over another's account, and when one leaves: once over the rows of that account.
TAKE_OVER: Mapping[str, Mapping[str, Any]] = {
    "recover_claimed": _ACCOUNT | {"poison_after": 3},
    "recover_authorised": _ACCOUNT | {"node": "n", "grace": 60.0},
    "recover_left": _ACCOUNT,
    "forget_leases": _ACCOUNT,
    "release_leases": _ACCOUNT,
    "unclaim": _ACCOUNT | {"known": IDS},
}


# Of many accounts few have a mailbox, and only those are looked at; told with statistics alone.
FEW_OF_MANY: Mapping[str, Mapping[str, Any]] = {
    "account_mailboxes": {"held": IDS[:20], "succeeds": [], "asked": False, "limit": 100},
}


def complaints(
    database: Database, wanted: Mapping[str, Mapping[str, Any]], growing: Sequence[str] = GROWING
) -> dict[str, str]:
    """By query what its plan does that costs more the longer the queue is."""
    named = queries.load(database.kind)
    found = {}
    explain = OnServer if database.kind == "postgres" else InFile
    with explain(database, growing) as complain:
        for name, params in wanted.items():
            for statement in named[name].statements:
                if complaint := complain(statement, params):
                    found[name] = complaint
    return found


class OnServer:
    def __init__(self, database: Database, growing: Sequence[str]) -> None:
        self._growing = growing
        self._server = psycopg.connect(database.url, autocommit=True)

    def __enter__(self) -> "OnServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def __call__(self, statement: str, params: Mapping[str, Any]) -> str | None:
        bound = {**params, "rows": json.dumps(params["rows"])} if "rows" in params else params
        found = self._server.execute(b"EXPLAIN (FORMAT JSON) " + statement.encode(), bound).fetchone()
        assert found is not None
        return _complaint(found[0][0]["Plan"], self._growing)


def _complaint(plan: Mapping[str, Any], growing: Sequence[str]) -> str | None:
    for node in _nodes(plan):
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in growing:
            return f"scans {node['Relation Name']}"
        if node["Node Type"] == "Hash" and any(
            below.get("Relation Name") in growing and "Index Cond" not in below for below in _nodes(node)
        ):
            return "hashes a growing table"
    return None


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


class _Unset(dict[str, Any]):
    def __missing__(self, name: str) -> None:
        return None


class InFile:
    """A SCAN is what reads from the first row; one along an index ends with its LIMIT. A range of ids alone is read
    past other tenants' rows."""

    def __init__(self, database: Database, growing: Sequence[str]) -> None:
        self._growing = growing
        self._file: sqlite3.Connection = sqlite.connect(Path(database.url))

    def __enter__(self) -> "InFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __call__(self, statement: str, params: Mapping[str, Any]) -> str | None:
        if statement.startswith("CREATE TEMP"):
            self._file.execute(statement)
            return None
        bound = _Unset(
            {name: json.dumps(value) if isinstance(value, list) else value for name, value in params.items()}
        )
        planned = decided(statement, bound)
        lines = [row[3] for row in self._file.execute(f"EXPLAIN QUERY PLAN {planned}", bound)]
        growing = {
            *self._growing,
            *re.findall(rf"\b(?:{'|'.join(self._growing)})\s+(?:AS\s+)?([a-z]\w*)", statement),
        }
        for line in lines:
            if (
                (found := _SCAN.match(line))
                and found[1] in growing
                and not (found[2] and "LIMIT" in statement)
            ):
                return str(line)
            if bound["tenant"] and (found := _RANGE.match(line)) and found[1] in growing:
                return f"walks everybody's rows: {line}"
        return None
