"""A campaign small enough for every test run, and its plan."""

import itertools
import random

import pytest

from tests.campaign.campaign import run
from tests.campaign.plan import CI, SMALL, plan, recipients


@pytest.mark.timeout(300)
def test_a_small_campaign_keeps_every_promise(dialect: str) -> None:
    verdict = run(dialect, seed=20261121, scale=SMALL)
    assert verdict.findings == []
    assert verdict.amiss == []
    assert verdict.tally.messages > 100


def test_a_seed_is_a_plan() -> None:
    assert plan(7, CI, nodes=2, lease=2.0) == plan(7, CI, nodes=2, lease=2.0)
    assert plan(7, CI, nodes=2, lease=2.0) != plan(8, CI, nodes=2, lease=2.0)


def test_all_faults_are_planned_within_the_time_and_none_overlaps_one_of_its_kind() -> None:
    acts = plan(7, CI, nodes=2, lease=2.0)
    assert len(acts) == sum(CI.faults.values())
    for kind in CI.faults:
        same = [act for act in acts if act.kind == kind]
        assert all(one.at + one.lasts <= next_.at for one, next_ in itertools.pairwise(same))
        assert same[-1].at + same[-1].lasts <= CI.seconds


def test_a_seed_is_the_same_mail() -> None:
    one, other = random.Random("7-mail-0"), random.Random("7-mail-0")
    assert [recipients(one, 0.1) for _ in range(50)] == [recipients(other, 0.1) for _ in range(50)]
