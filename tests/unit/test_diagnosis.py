"""What the doctor thinks of what was found."""

from dataclasses import replace

import pytest

from mailproxy.cli import diagnosis
from mailproxy.cli.diagnosis import Greeted, Health, Result
from mailproxy.figures import ProcessView
from mailproxy.model import AccountCondition, Epoch
from mailproxy.outcome import AccountTrouble, Trouble
from tests.unit.test_explanation import ACCOUNT, NOW

CHANGE = "mail-proxy first acme accounts VERB main"
MB = 1 << 20


def test_a_schema_is_of_this_release_or_says_what_to_do() -> None:
    assert diagnosis.schema(["0001_queue"], [], [], "migrate!").health is Health.OK
    assert diagnosis.schema([], ["0001_queue"], [], "migrate!").remedy == "migrate!"
    newer = diagnosis.schema(["0001_queue"], [], [99], "migrate!")
    assert (newer.health, newer.remedy) == (Health.FAIL, "Upgrade mailproxy.")


@pytest.mark.parametrize(
    ("ahead", "health"),
    [(0.0, Health.OK), (1.9, Health.OK), (-2.1, Health.WARN), (59.0, Health.WARN), (-61.0, Health.FAIL)],
)
def test_clocks_may_differ_a_little(ahead: float, health: Health) -> None:
    assert diagnosis.clock(ahead).health is health


@pytest.mark.parametrize(
    ("free", "health"),
    [(1000 * MB, Health.OK), (499 * MB, Health.WARN), (99 * MB, Health.FAIL), (None, Health.WARN)],
)
def test_a_disk_warns_long_before_mail_is_refused(free: int | None, health: Health) -> None:
    assert diagnosis.disk(free, 100 * MB, "/data").health is health


def test_workers_that_were_not_seen_lately_are_named() -> None:
    seen = [
        ProcessView(Epoch(number), role, "node", role, NOW - 99, NOW - age)
        for number, (role, age) in enumerate([("scout", 1), ("reporter", 31), ("maintenance", 2)])
    ]
    found = diagnosis.workers(seen, NOW, 30.0, "start!")
    assert (found.health, found.remedy) == (Health.WARN, "start!")
    assert found.text.startswith("reporter: none seen")
    assert diagnosis.workers(seen, NOW, 60.0, "start!").health is Health.OK


@pytest.mark.parametrize(
    ("trouble", "remedy"),
    [
        (Trouble.DNS, "update main --host NAME"),
        (Trouble.REFUSED, "firewall"),
        (Trouble.NETWORK, "firewall"),
        (Trouble.TLS, "--tls-ca FILE"),
        (Trouble.AUTH, "--password-stdin"),
        (Trouble.THROTTLED, "try again later"),
    ],
)
def test_each_trouble_of_an_account_has_a_remedy(trouble: Trouble, remedy: str) -> None:
    found = diagnosis.account(ACCOUNT, AccountTrouble(trouble, "no"), CHANGE)
    assert (found.health, found.text) == (Health.FAIL, "smtp.example.com:587: no")
    assert remedy in (found.remedy or "")


def test_a_password_that_a_server_quotes_is_hidden() -> None:
    view = replace(ACCOUNT, account=replace(ACCOUNT.account, user="u", password="hush"))
    found = diagnosis.account(view, AccountTrouble(Trouble.AUTH, "535 not 'hush'"), CHANGE)
    assert "hush" not in found.text
    assert "535 not '***'" in found.text


def test_an_account_that_works_may_still_deserve_a_warning() -> None:
    greeted = Greeted("192.0.2.1", "TLSv1.3", logged_in=False)
    assert diagnosis.account(ACCOUNT, greeted, CHANGE).health is Health.OK
    off = replace(ACCOUNT, condition=AccountCondition.BREAKER_OPEN)
    assert diagnosis.account(off, greeted, CHANGE).remedy == "mail-proxy first acme accounts reset main"
    half = replace(ACCOUNT, account=replace(ACCOUNT.account, user="u"))
    assert "no password" in diagnosis.account(half, greeted, CHANGE).text
    clear = diagnosis.account(half, Greeted("192.0.2.1", None, logged_in=True), CHANGE)
    assert (clear.health, clear.remedy) == (Health.WARN, "mail-proxy first acme accounts update main --tls")


@pytest.mark.parametrize(
    ("status", "health", "remedy"),
    [
        (200, Health.OK, None),
        (204, Health.OK, None),
        (401, Health.FAIL, "--auth-"),
        (404, Health.FAIL, "--sync-path"),
        (500, Health.FAIL, "log"),
        (None, Health.FAIL, "--base-url"),
    ],
)
def test_an_answer_of_a_tenant_is_judged(status: int | None, health: Health, remedy: str | None) -> None:
    found = diagnosis.call("reports acme", status, "ConnectError", "mail-proxy first tenants update acme")
    assert found.health is health
    assert (remedy is None) == (found.remedy is None)
    assert (remedy or "") in (found.remedy or "")


def test_the_worst_result_counts() -> None:
    ok, warn, fail = (Result("x", health, "") for health in Health)
    assert diagnosis.worst([]) is Health.OK
    assert diagnosis.worst([ok, warn]) is Health.WARN
    assert diagnosis.worst([ok, fail, warn]) is Health.FAIL
