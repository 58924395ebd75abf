"""What clients and operators do to the queue: submit, suspend, cancel, decide, delete, report."""

import time
from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import rule

from mailproxy.model import AccountCondition, Priority, Resolution, State
from mailproxy.records import NewMessage
from mailproxy.reports import CallSettled
from tests.sql import queue_nouns as nouns
from tests.sql.queue_bench import TICK
from tests.sql.queue_nouns import Letter
from tests.sql.queue_watched import ACCOUNTS, NAMES, Watched, in_order

BATCHES = (None, None, "news", "bills")
NEVER = 2.5e9


class Outside(Watched):
    # -- acceptance

    @rule(
        names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4),
        account=st.sampled_from(ACCOUNTS),
        batch=st.sampled_from(BATCHES),
        priority=st.sampled_from(Priority),
        wait=st.sampled_from((None, None, None, 0.5)),
        age=st.sampled_from((2.5, 9.5)),
    )
    def post(
        self,
        names: list[str],
        account: str,
        batch: str | None,
        priority: Priority,
        wait: float | None,
        age: float,
    ) -> None:
        due_at = None if wait is None else time.time() + wait * TICK
        items = [
            NewMessage(
                name, self.pks[account], priority, "{}", batch_code=batch, due_at=due_at, max_age=age * TICK
            )
            for name in names
        ]
        self.accept(
            items, lambda id_: Letter(id_, account, priority, batch, self.model.now), wait or 0.0, age
        )

    @rule(name=st.sampled_from(NAMES))
    def post_rejected(self, name: str) -> None:
        item = NewMessage(name, None, Priority.LOW, "{}", rejected="no recipient")
        done = self.model.now
        made = lambda id_: Letter(id_, "", 3, None, done, status=nouns.ERROR, done=done)  # noqa: E731
        self.accept([item], made, 0.0, 0.0)

    def accept(self, items: list[NewMessage], made: Callable[[int], Letter], wait: float, age: float) -> None:
        answers = self.bench.run(self.queue.enqueue({self.tenant: items}))
        assert [answer.client_id for answer in answers] == [item.client_id for item in items]
        now = self.model.now
        self.model.calls += 1
        for name, answer in {answer.client_id: answer for answer in answers}.items():
            assert answer.message_id is not None
            known = name in self.model.letters
            refused = self.model.enqueue(name, made(answer.message_id), now + wait, now + wait + age)
            assert (answer.refused, answer.replaced) == (refused, known and refused is None)

    # -- from outside

    @rule(batch=st.sampled_from((*BATCHES, "news", "bills")), what=st.integers(0, 5))
    def suspend_or_activate(self, batch: str | None, what: int) -> None:
        if what < 2:
            self.suspend(batch)
        elif what < 5:
            self.activate(batch)
        else:
            self.stop_or_start_everything(not self.model.stopped)

    def suspend(self, batch: str | None) -> None:
        found = self.bench.run(self.directory.suspend(self.tenant, batch))
        self.model.suspend(batch)
        self.check_suspensions(found.codes)

    def activate(self, batch: str | None) -> None:
        found = self.bench.run(self.directory.activate(self.tenant, batch))
        assert (found is not None) == self.model.activate(batch)
        if found is not None:
            self.check_suspensions(found.codes)

    def check_suspensions(self, codes: tuple[str, ...]) -> None:
        standing = self.model.batches
        assert set(codes) == ({"*"} if nouns.ALL in standing else standing)

    def stop_or_start_everything(self, stop: bool) -> None:
        call = self.directory.suspend if stop else self.directory.activate
        assert self.bench.run(call(None, None))
        self.model.stopped = stop

    @rule(name=st.sampled_from(NAMES), what=st.sampled_from(("cancel", "delete", *Resolution)))
    def decide(self, name: str, what: str) -> None:
        if isinstance(what, Resolution):
            self.resolve(name, what)
        elif what == "cancel":
            self.cancel(name)
        else:
            self.delete(name)

    def cancel(self, name: str) -> None:
        done = self.bench.run(self.directory.cancel(self.tenant, name)) is State.CANCELLED
        was = name in self.model.letters and self.model.letters[name].status == nouns.CANCELLED
        assert done == (self.model.cancel(name) or was)

    def resolve(self, name: str, resolution: Resolution) -> None:
        status = {Resolution.SENT: nouns.SENT, Resolution.RETRY: nouns.QUEUED, Resolution.ERROR: nouns.ERROR}
        was = self.bench.run(self.directory.resolve(self.tenant, name, resolution, max_age=2.5 * TICK))
        assert (was is State.UNKNOWN) == self.model.resolve(name, status[resolution], 2.5)

    def delete(self, name: str) -> None:
        found = self.bench.run(self.directory.delete_messages(self.tenant, [name]))
        deleted = self.model.delete(name)
        assert (found.removed, found.being_sent) == {
            None: ((), ()),
            True: ((name,), ()),
            False: ((), (name,)),
        }[deleted]

    @rule(older_than=st.sampled_from((None, -0.5, 1.5)))
    def tidy_up(self, older_than: float | None) -> None:
        if older_than is None:
            self.expire()
        else:
            self.cleanup(older_than)

    def cleanup(self, older_than: float) -> None:
        found = self.bench.run(self.directory.cleanup(self.tenant, older_than * TICK, limit=1000))
        assert found == self.model.cleanup(older_than)

    def expire(self) -> None:
        assert self.bench.run(self.directory.expire(limit=100)) == self.model.expire()

    @rule(most=st.integers(0, 5))
    def report(self, most: int) -> None:
        reports, epoch = self.bench.store.reports, self.senders[0].epoch
        calls = self.bench.run(
            reports.claim_tenants(epoch, limit=9, ttl=60.0, interval=NEVER, fallback=False)
        )
        assert [call.tenant_id for call in calls] == ([self.id] if self.model.outbox else [])
        if calls:
            waiting = self.bench.run(reports.pending(self.tenant, 1000))
            outbox = [(one.client_id, str(one.event_type)) for one in waiting]
            assert in_order(outbox) == in_order(self.model.outbox)
            told = [one.event_id for one in waiting[:most]]
            assert self.bench.run(reports.acknowledge(self.tenant, epoch, told)) == len(told)
            self.bench.run(reports.settle_call(self.tenant, epoch, CallSettled(fails=0, called=True)))
            self.model.acknowledge(outbox[:most])

    @rule(account=st.sampled_from(ACCOUNTS), what=st.integers(0, 5))
    def break_or_mend(self, account: str, what: int) -> None:
        if what < 2:
            self.back_off(account, what == 1)
        else:
            self.mend(account, what == 2)

    def back_off(self, account: str, breaks: bool) -> None:
        condition = AccountCondition.BREAKER_OPEN if breaks else AccountCondition.BACKING_OFF
        self.bench.run(
            self.queue.back_off(
                self.pks[account], condition=condition, reason="dns", cause="?", delay=0.5 * TICK
            )
        )
        known = self.model.accounts[account]
        known.condition, known.not_before = str(condition), self.model.now + 0.5

    def mend(self, account: str, reset: bool) -> None:
        known = self.model.accounts[account]
        if reset:
            self.bench.run(self.directory.reset_account(self.tenant, account))
        else:
            self.bench.run(self.queue.account_works(self.pks[account]))
        if reset or known.condition != "ok":
            known.condition, known.not_before = "ok", 0.0
