"""Whatever is done to the queue in whatever order, it does what its model does (queue_model.py), on both databases.

The clock advances by moving everything that is stored into the past. `make test` plays the same examples each time;
MAILPROXY_TEST_EXAMPLES=500 plays so many new ones.
"""

import os
from itertools import count

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import initialize
from hypothesis.stateful import run_state_machine_as_test as run_machine

from mailproxy.config import Settings
from mailproxy.model import Epoch, Priority
from mailproxy.records import AccountWrite, TenantWrite
from tests.sql import queue_model as model
from tests.sql.queue_bench import TICK, WINDOW, bench
from tests.sql.queue_nouns import ALL, Account, Windows
from tests.sql.queue_outside import Outside
from tests.sql.queue_sending import Sending
from tests.sql.queue_watched import ACCOUNTS, NODES, Sender

EXAMPLES = "MAILPROXY_TEST_EXAMPLES"
TENANTS = count(1)
FEW = {"postgres": 25, "sqlite": 60}


class QueueMachine(Sending, Outside):
    @initialize(
        limit=st.sampled_from((None, 2, 1)),
        of_tenant=st.sampled_from((None, None, 3)),
        rejects=st.booleans(),
    )
    def begin(self, limit: int | None, of_tenant: int | None, rejects: bool) -> None:
        self.id = f"t{next(TENANTS)}"
        behaviour = "reject" if rejects else "defer"
        tenant = TenantWrite(id=self.id, client_base_url="http://127.0.0.1:1", hourly_limit=of_tenant)
        self.bench.run(self.directory.put_tenant(tenant, None, None))
        found = self.bench.run(self.directory.tenant(self.id))
        assert found is not None
        self.tenant = found.pk
        self.pks = {}
        for name in ACCOUNTS:
            write = AccountWrite(name, "h", 25, limit_per_minute=limit, limit_behavior=behaviour)
            self.pks[name] = self.bench.run(self.directory.put_account(self.tenant, write))
        self.bench.write("ticks", tick=TICK, window=WINDOW)
        accounts = {name: Account(behaviour) for name in ACCOUNTS}
        most = {name: limit for name in ACCOUNTS if limit} | ({ALL: of_tenant} if of_tenant else {})
        self.model = model.Queue(accounts, Windows(WINDOW, most))
        for node in NODES:
            self.register(node)
        self.post(["a", "b"], "one", None, Priority.HIGH, None, 9.5)
        for number, name in enumerate(ACCOUNTS):
            self.take_lease(number, name, 0, False)

    def teardown(self) -> None:
        if hasattr(self, "tenant"):
            try:
                self.everything_comes_to_an_end()
            finally:
                self.bench.run(self.directory.activate(None, None))
                self.bench.run(self.directory.delete_tenant(self.id))
                self.bench.run(self.bench.store.fleet.forget_dead(-TICK))

    # -- the end

    def everything_comes_to_an_end(self) -> None:
        """Once nothing stands in its way any more, each message ends, whoever died with it in his hands."""
        self.stop_or_start_everything(False)
        self.activate(None)
        self.senders, first = [], len(self.senders)
        self.senders = [Sender(Epoch(0), "", "", [])] * first
        self.register("near")
        last = len(self.senders) - 1
        self.pass_time(4)
        for account in ACCOUNTS:
            self.mend(account, True)
            self.take_lease(last, account, 0, False)
            self.recover(last, account, 0.5, "unknown")
        for _ in range(30):
            if not self.model._waiting():
                break
            for account in ACCOUNTS:
                one = self.senders[last]
                tokens = self.claim_as(one, account, 0, 4)
                self.intend_these(one, tokens)
                self.settle_these(one, [(token, "sent") for token in tokens])
            self.renew_leases(last)
            self.pass_time(1)
        self.the_database_says_what_the_model_says()
        assert all(letter.row is None for letter in self.model.letters.values())
        self.pass_time(4)
        for account in ACCOUNTS:
            self.take_lease(last, account, 0, False)
            self.recover(last, account, 0.5, "")
            self.release_leases(last)
        assert not self.bench.run(self.queue.due_accounts("near", 1)).accounts


@pytest.mark.timeout(120 + 2 * int(os.environ.get(EXAMPLES, "0")))
def test_the_queue_does_what_its_model_does(settings: Settings) -> None:
    wanted = os.environ.get(EXAMPLES)
    profile = hypothesis.settings(
        max_examples=int(wanted or FEW[settings.database.kind]),
        stateful_step_count=60,
        deadline=None,
        derandomize=wanted is None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    with bench(settings) as here:
        run_machine(lambda: QueueMachine(here), settings=profile)
