"""The database of the model's test: reached on a loop of its own, seen as tables, and made older."""

import asyncio
import time
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from mailproxy.config import Settings
from mailproxy.model import TenantPk
from sql.engine import Work
from sql.queries import Step
from sql.store import SqlStore
from tests.sql.stores import on_postgres, on_sqlite

T = TypeVar("T")

# A tick of the model: so long that none passes by itself, and chosen so that now is in the middle of a slot.
SLOT = 1760
TICK = time.time() / (SLOT + 0.5)
WINDOW = 2

# The tables as the model sees them, and the clock; `gone` is how far it goes.
LOOK = {
    "rows": (
        "SELECT m.client_id, m.id, m.status, m.revision, m.attempts, q.phase, q.epoch, q.attempts, q.claim, q.crashes,"
        " q.suspect, q.held, {due}, {expires}, {charged} FROM message m LEFT JOIN q ON q.id = m.id"
        " WHERE m.tenant_pk = {tenant}"
    ),
    "told": (
        "SELECT m.client_id, e.kind FROM event e JOIN message m ON m.id = e.message_id"
        " WHERE e.tenant_pk = {tenant} ORDER BY e.id"
    ),
    "kept": (
        "SELECT m.client_id, r.rcpt, r.accepted FROM recipient_state r JOIN message m ON m.id = r.message_id"
        " WHERE m.tenant_pk = {tenant}"
    ),
    "leases": "SELECT account_pk, slot, epoch, {lease} FROM account_lease",
    "tokens": "SELECT kind, scope, slot, n FROM rate_slot WHERE n > 0",
    "ticks": "UPDATE rate_limit SET slot_s = {tick}, slots = {window}",
    "pass_time": ";".join(
        (
            "UPDATE q SET due_at = due_at - {gone}, expires_at = expires_at - {gone}",
            "UPDATE q SET charged_at = charged_at - {gone}",
            "UPDATE message SET created_at = created_at - {gone}, done_at = done_at - {gone}",
            "UPDATE message SET reported_at = reported_at - {gone}",
            "UPDATE account_lease SET expires_at = expires_at - {gone}",
            "UPDATE account_state SET not_before = not_before - {gone}",
            "UPDATE process SET seen_at = seen_at - {gone}, left_at = left_at - {gone}",
            # A key must not meet another on its way.
            "UPDATE rate_slot SET slot = -slot",
            "UPDATE rate_slot SET slot = -slot - {ticks}",
        )
    ),
}
INSTANTS = {"due": "q.due_at", "expires": "q.expires_at", "charged": "q.charged_at", "lease": "expires_at"}


def in_dialect(dialect: str) -> dict[str, str]:
    names = ("tenant", "tick", "window", "gone", "ticks")
    if dialect == "postgres":
        instants = {name: f"extract(epoch FROM {column})::float8" for name, column in INSTANTS.items()}
        marks = {name: f"%({name})s" for name in names} | {"gone": "make_interval(secs => %(gone)s)"}
    else:
        instants = INSTANTS
        marks = {name: f":{name}" for name in names}
    return {name: text.format(**instants, **marks) for name, text in LOOK.items()}


@dataclass(frozen=True, repr=False)
class Bench:
    """A store and the loop it lives on."""

    store: SqlStore
    runner: asyncio.Runner

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def write(self, query: str, **params: object) -> None:
        def work() -> Work[None]:
            yield (Step(query, params),)

        self.run(self.store.engine.write(work))

    def look(self, tenant: TenantPk, *queries: str) -> list[list[tuple[Any, ...]]]:
        def work() -> Work[list[list[tuple[Any, ...]]]]:
            return (yield tuple(Step(query, {"tenant": tenant}) for query in queries))

        return self.run(self.store.engine.read(work))


@contextmanager
def bench(settings: Settings) -> Iterator[Bench]:
    database = settings.database
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        more = in_dialect(database.kind)
        opening = (
            on_postgres(database.url, **more) if database.path is None else on_sqlite(database.path, **more)
        )
        store = runner.run(stack.enter_async_context(opening))
        try:
            yield Bench(store, runner)
        finally:
            runner.run(stack.aclose())
