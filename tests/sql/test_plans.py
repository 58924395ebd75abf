"""The hot path reads by index whatever the queue's length: no plan may scan or hash what grows with it.

Ten thousand rows here; `make bench-scale` asks the same of a million.
"""

import pytest

from loadtests import plans
from loadtests.fill import Filler, Shape
from mailproxy.config import Settings
from sql.store import SqlStore
from tests.sql.conftest import World

ROWS = 10_000
ACCOUNTS = 20


@pytest.fixture
async def filled(store: SqlStore, world: World, settings: Settings) -> Settings:
    """Rows of twenty accounts, most of them due later, some claimed; and as many reports that wait."""
    accounts = [world.account, *[await world.add_account(f"a{number}") for number in range(1, ACCOUNTS)]]
    await world.sender()
    filler = Filler(settings.database)
    filler.rows(Shape("m", world.tenant, accounts, due_in="i", priority="i % 4", body=""), ROWS)
    done = Shape("d", world.tenant, accounts, is_finished=True, is_reported=False, body="")
    filler.rows(done, ROWS)
    filler.run("UPDATE q SET epoch = 1, phase = 1 WHERE id <= 200")
    filler.close()
    return settings


@pytest.mark.parametrize("statistics", ["none", "fresh"])
def test_no_hot_statement_reads_the_whole_queue(filled: Settings, statistics: str) -> None:
    if statistics == "fresh":
        filler = Filler(filled.database)
        filler.analyze()
        filler.close()
    assert plans.complaints(filled.database, plans.HOT) == {}


def test_a_take_over_reads_no_more_than_its_account(filled: Settings) -> None:
    filler = Filler(filled.database)
    filler.analyze()
    filler.close()
    assert plans.complaints(filled.database, plans.TAKE_OVER) == {}
