import pytest

from mailproxy.model import Account, AccountPk, TenantPk
from mailproxy.outcome import Deferred, Refused, Reply, Stage, Unknown
from mailproxy.retry import GiveUp, RetryAt, RetryPolicy, backoff, describe, next_step

NOW = 1_000_000.0
POLICY = RetryPolicy()
TEMPORARY = Deferred(Stage.DOT, "(451, 'Try later')", Reply(451, "Try later"))
PERMANENT = Refused(Stage.RCPT, "(550, 'Mailbox not found')", Reply(550, "Mailbox not found"))


@pytest.mark.parametrize(("attempts", "delay"), [(1, 60), (2, 300), (3, 900), (4, 3600), (5, 7200)])
def test_each_retry_waits_longer(attempts: int, delay: float) -> None:
    assert next_step(TEMPORARY, attempts, POLICY, NOW, 0.5) == RetryAt(
        NOW + delay, "(451, 'Try later') (SMTP 451)"
    )


@pytest.mark.parametrize(("chance", "delay"), [(0.0, 48.0), (0.5, 60.0), (0.999999, 72.0)])
def test_a_delay_is_spread_by_a_fifth(chance: float, delay: float) -> None:
    step = next_step(TEMPORARY, 1, POLICY, NOW, chance)
    assert isinstance(step, RetryAt)
    assert step.at == pytest.approx(NOW + delay, abs=0.001)


def test_the_last_retry_failing_is_the_end() -> None:
    assert next_step(TEMPORARY, 6, POLICY, NOW, 0.5) == GiveUp(
        "Max retries (5) exceeded: (451, 'Try later') (SMTP 451)"
    )


def test_the_last_delay_repeats() -> None:
    policy = RetryPolicy(retries=9, delays=(1.0, 2.0))
    assert next_step(TEMPORARY, 9, policy, NOW, 0.5) == RetryAt(NOW + 2.0, describe(TEMPORARY))


@pytest.mark.parametrize("policy", [RetryPolicy(retries=0), RetryPolicy(delays=())])
def test_a_policy_without_retries_gives_up_at_once(policy: RetryPolicy) -> None:
    assert isinstance(next_step(TEMPORARY, 1, policy, NOW, 0.5), GiveUp)


def test_a_permanent_refusal_is_not_retried_and_ends_in_its_code() -> None:
    assert next_step(PERMANENT, 1, POLICY, NOW, 0.5) == GiveUp("(550, 'Mailbox not found') (SMTP 550)")


def test_without_a_reply_the_cause_is_the_text() -> None:
    assert describe(Unknown("no reply to the dot")) == "no reply to the dot"
    assert describe(Deferred(Stage.MAIL, "connection closed")) == "connection closed"


def test_an_account_sets_its_own_policy() -> None:
    account = Account(
        pk=AccountPk(1), tenant_pk=TenantPk(1), tenant_id="t", id="a", version=1, host="h", port=25,
        user=None, password=None, max_retries=0, retry_delays=(7.0,),
    )  # fmt: skip
    assert POLICY.for_account(account) == RetryPolicy(0, (7.0,))


@pytest.mark.parametrize(
    ("fails", "seconds"), [(1, 5), (2, 10), (3, 20), (7, 320), (8, 600), (9, 600), (10_000, 600)]
)
def test_an_accounts_rest_doubles_up_to_ten_minutes(fails: int, seconds: float) -> None:
    assert backoff(fails, 0.5) == seconds
    assert backoff(fails, 0.0) == pytest.approx(seconds * 0.8)
    assert backoff(fails, 0.999) <= 600
