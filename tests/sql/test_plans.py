"""The hot path reads by index whatever the queue's length: no plan may scan or hash what grows with it.

Ten thousand rows here, before and after there are statistics of them; `make bench-scale` asks the same of a million,
with statistics.
"""

import pytest

from loadtests import plans
from loadtests.fill import Filler, Shape
from mailproxy.config import Settings
from mailproxy.records import AccountWrite
from sql.store import SqlStore
from tests.sql.conftest import World

ROWS = 10_000
ACCOUNTS = 20
# Numbers begin at 0, ids at 1: the 200 rows after the claimed ones, as many as one claim takes.
DUE_IN = "CASE WHEN i BETWEEN 200 AND 399 THEN -60 ELSE i END"


pytestmark = pytest.mark.usefixtures("new_database")


@pytest.fixture
async def filled(store: SqlStore, world: World, settings: Settings) -> Settings:
    """Rows of twenty accounts, some claimed and charged to a limit, some due, most later; as many reports wait."""
    limited = AccountWrite(id="main", host="127.0.0.1", port=25, limit_per_minute=1000)
    assert await store.directory.put_account(world.tenant, limited) == world.account
    accounts = [world.account, *[await world.add_account(f"a{number}") for number in range(1, ACCOUNTS)]]
    await world.sender()
    filler = Filler(settings.database)
    filler.rows(Shape("m", world.tenant, accounts, due_in=DUE_IN, priority="i % 4", body=""), ROWS)
    done = Shape("d", world.tenant, accounts, is_finished=True, is_reported=False, body="")
    filler.rows(done, ROWS)
    filler.run("UPDATE q SET epoch = 1, phase = 1, charged_at = due_at WHERE id <= 200")
    filler.run("INSERT INTO rate_slot SELECT kind, scope, win, 1, 10 FROM rate_limit")
    filler.certified()
    filler.contents()
    filler.suppressed(world.tenant, ROWS)
    filler.tenants(ROWS // 10)
    filler.mailboxes(ROWS // 10)
    filler.close()
    return settings


def test_no_hot_statement_reads_the_whole_queue_and_a_take_over_its_account_only(filled: Settings) -> None:
    assert plans.complaints(filled.database, {**plans.HOT, **plans.OF_ACCOUNT}) == {}
    filler = Filler(filled.database)
    filler.analyze()
    filler.close()
    assert plans.complaints(filled.database, {**plans.HOT, **plans.OF_ACCOUNT, **plans.TAKE_OVER}) == {}
    assert plans.complaints(filled.database, plans.FEW_OF_MANY, ["account"]) == {}
