from pathlib import Path

import pytest

from mailproxy.cli.home import Instance
from mailproxy.cli.server import on_store
from mailproxy.model import AccountCondition
from mailproxy.store import Store
from tests.cli.conftest import CommandLine
from tests.support.tls import Authority

ADD = ("first", "acme", "accounts", "add")
SHOW = ("first", "acme", "accounts", "show")


def test_an_account_needs_only_a_server(acme: CommandLine) -> None:
    shown = acme.json(*SHOW, "main")
    assert shown["host"] == "smtp.example.com"
    assert shown["port"] == 587
    assert shown["password_set"] is False
    assert "use_tls" not in shown


def test_an_account_is_described_by_options(acme: CommandLine) -> None:
    options = [
        "-h",
        "mail.example.org",
        "-p",
        465,
        "-u",
        "ann",
        "--password-stdin",
        "--tls",
        "--batch-size",
        7,
    ]
    options += [
        "--ttl",
        60,
        "--limit-minute",
        1,
        "--limit-hour",
        2,
        "--limit-day",
        3,
        "--limit-behavior",
        "reject",
    ]
    acme.ok(*ADD, "second", *options, "--on-unknown", "hold", "--max-retries", 2, input="hush\n")
    shown = acme.json(*SHOW, "second")
    assert shown["use_tls"] is True
    assert shown["password_set"] is True
    assert shown["user"] == "ann"
    assert (shown["batch_size"], shown["ttl"], shown["max_retries"]) == (7, 60, 2)
    assert (shown["limit_per_minute"], shown["limit_per_hour"], shown["limit_per_day"]) == (1, 2, 3)
    assert shown["limit_behavior"] == "reject"
    assert shown["on_unknown_outcome"] == "hold"
    assert "hush" not in str(shown)
    assert "***" in acme.ok(*SHOW, "second")


def test_a_password_comes_from_a_file(acme: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hush\n")
    acme.ok(*ADD, "second", "-h", "localhost", "-u", "ann", "--password-file", tmp_path / "password")
    assert acme.json(*SHOW, "second")["password_set"] is True


@pytest.mark.bad_input("B40")
def test_a_password_on_the_command_line_is_warned_about(acme: CommandLine) -> None:
    result = acme(*ADD, "second", "-h", "localhost", "-u", "ann", "--password", "hush")
    assert result.exit_code == 0
    assert "Warning: --password can be seen" in result.stderr
    assert "hush" not in result.output


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-h", "smtp://x"],
        ["-h", "two words"],
        ["-h", "x", "-p", "0"],
        ["-h", "x", "--limit-day", "-1"],
        ["-h", "x", "--limit-behavior", "drop"],
        ["-h", "x", "--on-unknown", "guess"],
        ["-h", "x", "--password", "without-user"],
        ["-h", "x", "-u", "u", "--password-stdin", "--password-file", "f"],
        ["-h", "x", "-u", "u", "--password-stdin"],
    ],
    ids=" ".join,
)
def test_a_wrong_option_is_wrong_usage(options: list[str], acme: CommandLine) -> None:
    result = acme(*ADD, "second", *options)
    assert result.exit_code == 2, result.output
    assert acme(*SHOW, "second").exit_code == 3


def test_an_account_is_added_only_once(acme: CommandLine) -> None:
    assert acme(*ADD, "main", "-h", "localhost").exit_code == 5


def test_accounts_are_listed(acme: CommandLine) -> None:
    acme.ok(*ADD, "other.one", "-h", "::1", "-p", 25, "--no-tls")
    table = acme.ok("first", "acme", "accounts", "list")
    assert "[::1]:25" in table
    assert [one["id"] for one in acme.json("first", "acme", "accounts", "list")] == ["main", "other.one"]


def test_an_account_is_deleted(acme: CommandLine) -> None:
    assert acme("first", "acme", "accounts", "delete", "main").exit_code == 2
    acme.ok("first", "acme", "accounts", "delete", "main", "--force")
    assert acme("first", "acme", "accounts", "delete", "main", "--force").exit_code == 3
    assert "accounts add" in acme.ok("first", "acme", "accounts", "list")


def test_an_update_changes_only_what_is_given(acme: CommandLine) -> None:
    options = ["-h", "mail.example.org", "-p", 465, "-u", "ann", "--password-stdin", "--tls"]
    acme.ok(*ADD, "second", *options, "--limit-day", 9, input="hush\n")
    shown = acme.json("first", "acme", "accounts", "update", "second", "--limit-hour", 3, "--ttl", 60)
    assert (shown["host"], shown["port"], shown["user"]) == ("mail.example.org", 465, "ann")
    assert (shown["limit_per_hour"], shown["limit_per_day"], shown["ttl"]) == (3, 9, 60)
    assert shown["password_set"] is True
    assert shown["use_tls"] is True
    assert "use_tls" not in acme.json("first", "acme", "accounts", "update", "second", "--tls-if-offered")


def test_an_update_asks_nothing_and_needs_something_to_change(acme: CommandLine) -> None:
    code, shown = acme.at_terminal("first", "acme", "accounts", "update", "main", answers=[])
    assert code == 2, shown
    assert "Nothing to change" in shown


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["main", "--password", "without-user"], 2),
        (["main", "--tls", "--tls-if-offered"], 2),
        (["main", "-p", "0"], 2),
        (["nobody", "-p", "25"], 3),
    ],
)
def test_a_wrong_update_is_refused(options: list[str], code: int, acme: CommandLine) -> None:
    before = acme.json(*SHOW, "main")
    assert acme("first", "acme", "accounts", "update", *options).exit_code == code
    assert acme.json(*SHOW, "main") == before


def test_an_account_that_is_not_there_cannot_be_reset(acme: CommandLine) -> None:
    assert acme("first", "acme", "accounts", "reset", "nobody").exit_code == 3
    assert acme.json("first", "acme", "accounts", "reset", "main") == {"ok": True}


def test_an_account_that_rests_says_how_it_is_used_again(first: Instance, acme: CommandLine) -> None:
    async def refuse(store: Store) -> None:
        tenant = await store.directory.tenant("acme")
        assert tenant is not None
        pk = (await store.directory.account_ids(tenant.pk))["main"]
        await store.queue.back_off(
            pk, condition=AccountCondition.BREAKER_OPEN, reason="authentication", cause="535 no", delay=1e6
        )

    on_store(first.settings(), refuse)
    shown = acme.ok(*SHOW, "main")
    assert "breaker_open" in shown
    assert "mail-proxy first acme accounts reset main" in " ".join(shown.split())
    assert "POST /account/main/reset" in acme.json(*SHOW, "main")["state_remedy"]
    acme.ok("first", "acme", "accounts", "reset", "main")
    assert "What helps" not in acme.ok(*SHOW, "main")


def test_an_account_that_becomes_certified_holds_mail_in_doubt_and_shows_its_mailbox(
    acme: CommandLine,
) -> None:
    update = ("first", "acme", "accounts", "update", "main")
    acme.ok(*update, "--pec", "--imap-host", "imap.pec.example")
    shown = acme.json(*SHOW, "main")
    assert (shown["on_unknown_outcome"], shown["mailbox"]["state"]) == ("hold", "waiting")
    lines = {tuple(line.split()) for line in acme.ok(*SHOW, "main").splitlines()}
    assert {("Unknown", "outcome", "hold"), ("Mailbox", "waiting")} <= lines


def test_a_ca_file_must_hold_certificates(acme: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("hush")
    add = (*ADD, "other", "--host", "smtp.example.com", "--tls-ca", str(file), "-y")
    refused = acme(*add)
    assert refused.exit_code == 2
    assert "certificates in PEM" in " ".join(refused.output.split())
    file.write_text(Authority().pem)
    acme.ok(*add)
