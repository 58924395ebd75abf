"""What is compared with the model after every step (queue_model.py), and what holds beside it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mailproxy.model import AccountPk, Epoch, TenantPk
from mailproxy.records import MessageFilter
from tests.sql import queue_model as model
from tests.sql.queue_bench import SLOT, TICK, WINDOW, Bench
from tests.sql.queue_nouns import ALL, Token

NODES = ("near", "far")
NAMES = ("a", "b", "c", "d", "e")
ACCOUNTS = ("one", "two")


def in_order(told: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Each message's events in their order: between messages of one transaction there is none."""
    return sorted(told, key=lambda one: one[0])


@dataclass
class Sender:
    """A process of a node, and what it thinks it may settle, however long ago it learned of it."""

    epoch: Epoch
    node: str
    owner: str
    known: list[Token]
    limited: bool = False
    up: bool = True


class Watched(RuleBasedStateMachine):
    """`dots` are those that may have delivered, by account; in `open` those that nobody has an answer to."""

    id: str
    tenant: TenantPk
    pks: dict[str, AccountPk]
    model: model.Queue

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench = bench
        self.queue, self.directory = bench.store.queue, bench.store.directory
        self.senders: list[Sender] = []
        self.dots: dict[str, list[tuple[Token, float]]] = {}
        self.open: dict[tuple[int, int], Token] = {}

    def sender(self, number: int) -> Sender:
        return self.senders[number % len(self.senders)]

    @rule(node=st.sampled_from(NODES), slots=st.integers(1, 2))
    def look(self, node: str, slots: int) -> None:
        found = self.bench.run(self.queue.due_accounts(node, slots))
        names = {pk: name for name, pk in self.pks.items()}
        assert {(names[one.account_pk], one.slot) for one in found.accounts} == self.model.due(node, slots)
        wanted = MessageFilter(include_payload=False)
        shown = self.bench.run(self.directory.messages(self.tenant, wanted, after=None, limit=99))
        assert {view.client_id: str(view.state) for view in shown} == {
            name: self.model.state(name) for name in self.model.letters
        }

    @invariant()
    def the_database_says_what_the_model_says(self) -> None:
        if not hasattr(self, "tenant"):
            return
        rows, told, kept, leases, tokens = self.bench.look(
            self.tenant, "rows", "told", "kept", "leases", "tokens"
        )
        now = time.time()

        def tick(at: float | None) -> float | None:
            return None if at is None else round(2 * (at - now) / TICK) / 2 + self.model.now

        self.check_rows(rows, tick)
        assert in_order(told) == in_order(self.model.events)
        recipients = {(name, index): bool(accepted) for name, index, accepted in kept}
        assert recipients == {
            (name, index): accepted
            for name, letter in self.model.letters.items()
            for index, accepted in letter.recipients.items()
        }
        names = {pk: name for name, pk in self.pks.items()}
        assert {(names[pk], slot): (epoch, tick(ends)) for pk, slot, epoch, ends in leases} == {
            key: (epoch, round(ends * 2) / 2) for key, (epoch, ends) in self.model.leases.items()
        }
        self.check_tokens(tokens)

    def check_rows(self, rows: list[tuple[Any, ...]], tick: Callable[[float | None], float | None]) -> None:
        found = {}
        for name, *message, phase, epoch, tries, claim, crashes, suspect, held, due, expires, charged in rows:
            row = (phase, epoch, tries, claim, crashes, suspect, held if phase is None else bool(held))
            found[name] = (*message, *row, tick(due), tick(expires), tick(charged))
        expected = {}
        for name, letter in self.model.letters.items():
            fields: tuple[Any, ...] = (None,) * 10
            if row := letter.row:
                fields = (row.phase, row.epoch, row.attempts, row.claim, row.crashes, row.suspect, row.held)
                fields += (row.due[0], row.expires, row.charged)
            expected[name] = (letter.id, letter.status, letter.revision, letter.attempts, *fields)
        assert found == expected

    def check_tokens(self, tokens: list[tuple[Any, ...]]) -> None:
        names = {(1, pk): name for name, pk in self.pks.items()} | {(0, self.tenant): ALL}
        shift = SLOT - int(self.model.now)
        oldest = int(self.model.now) - WINDOW
        found = {
            (names[kind, scope], slot - shift): n
            for kind, scope, slot, n in tokens
            if (kind, scope) in names and slot - shift >= oldest
        }
        assert found == {
            (scope, slot): n
            for scope, slots in self.model.limits.charged.items()
            for slot, n in slots.items()
            if n > 0 and slot >= oldest
        }

    @invariant()
    def no_window_has_seen_more_dots_than_its_limit(self) -> None:
        if hasattr(self, "tenant"):
            everybody = [dot for dots in self.dots.values() for dot in dots]
            for scope, most in self.model.limits.most.items():
                dots = everybody if scope == ALL else self.dots.get(scope, [])
                assert len([at for _, at in dots if at > self.model.now - WINDOW]) <= most

    @invariant()
    def what_is_held_is_suspended(self) -> None:
        if hasattr(self, "tenant"):
            held = {letter.batch for _, letter, row in self.model._waiting() if row.held}
            assert held <= self.model.batches
