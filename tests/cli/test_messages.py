import csv
import io
import re

import pytest

from mailproxy.cli.home import Instance
from mailproxy.cli.server import on_store
from mailproxy.model import AccountCondition, EventType, Status
from mailproxy.store import Store
from tests.api.test_submission import finish
from tests.cli.conftest import HELLO, CommandLine

LIST = ("first", "acme", "messages", "list")


@pytest.fixture
def five(acme: CommandLine) -> CommandLine:
    acme.ok("first", "acme", "accounts", "add", "other", "-h", "localhost")
    for number in range(5):
        account = "other" if number == 4 else "main"
        acme.ok("first", "acme", "send", "-", "--id", f"m{number}", "-a", account, input=HELLO)
    return acme


def test_messages_are_listed(five: CommandLine) -> None:
    table = five.ok(*LIST).splitlines()
    assert table[0].split() == ["ID", "Account", "Status", "Subject", "Created"]
    assert table[1].split()[:4] == ["m4", "other", "pending", "Hello"]
    assert [one["id"] for one in five.json(*LIST)] == ["m4", "m3", "m2", "m1", "m0"]


def test_lists_are_narrowed_by_account_and_status(five: CommandLine) -> None:
    assert [one["id"] for one in five.json(*LIST, "-a", "other")] == ["m4"]
    assert five.json(*LIST, "-s", "sent") == []
    assert len(five.json(*LIST, "-s", "pending")) == 5


def test_a_limit_shows_the_newest_and_says_that_there_are_more(five: CommandLine) -> None:
    result = five(*LIST, "-l", 2)
    assert len(result.stdout.splitlines()) == 3
    assert "more than 2" in result.stderr
    assert five(*LIST, "-l", 5).stderr == ""
    assert [one["id"] for one in five.json(*LIST, "-l", 2)] == ["m4", "m3"]
    assert len(five.json(*LIST, "-l", 2, "--all")) == 5


@pytest.mark.bad_input("B42")
def test_pages_follow_one_another_without_a_gap(acme: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailproxy.cli.messages.PAGE", 2)
    for number in range(5):
        acme.ok("first", "acme", "send", "-", "--id", f"m{number}", input=HELLO)
    assert [one["id"] for one in acme.json(*LIST, "--all")] == ["m0", "m1", "m2", "m3", "m4"]
    assert [line.split()[0] for line in acme.ok(*LIST).splitlines()] == ["ID", "m4", "m3", "m2", "m1", "m0"]


def test_lists_come_as_comma_separated_values(five: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailproxy.cli.messages.PAGE", 2)
    letter = HELLO.replace(b"Subject: Hello", b'Subject: a "b", c')
    five.ok("first", "acme", "send", "-", "--id", "m5", "-a", "main", input=letter)
    rows = list(csv.DictReader(io.StringIO(five.ok(*LIST, "--csv", "--all"))))
    assert [row["id"] for row in rows] == ["m0", "m1", "m2", "m3", "m4", "m5"]
    assert rows[5]["subject"] == 'a "b", c'
    assert rows[5]["to"] == "bob@example.org"
    assert five.ok(*LIST, "--csv", "-s", "sent").count("\n") == 1
    assert five(*LIST, "--csv", "--json").exit_code == 2


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_no_subject_is_a_formula_for_a_spreadsheet(acme: CommandLine, start: str) -> None:
    letter = HELLO.replace(b"Subject: Hello", f"Subject: {start}".encode())
    acme.ok("first", "acme", "send", "-", "--id", "m1", input=letter)
    (row,) = csv.DictReader(io.StringIO(acme.ok(*LIST, "--csv")))
    assert row["subject"] == f"'{start}"


def test_a_message_is_shown_with_its_events(five: CommandLine) -> None:
    shown = five.json("first", "acme", "messages", "show", "m1")
    assert shown["status"] == "pending"
    assert shown["message"]["subject"] == "Hello"
    assert shown["events"] == []
    details = five.ok("first", "acme", "messages", "show", "m1")
    assert "bob@example.org" in details


def test_an_unknown_message_ends_with_3(five: CommandLine) -> None:
    result = five("first", "acme", "messages", "show", "m9")
    assert result.exit_code == 3
    assert "messages list" in result.stderr


def test_a_message_in_doubt_is_resolved(acme: CommandLine, first: Instance) -> None:
    acme.ok("first", "acme", "send", "-", "--id", "m1", input=HELLO)
    resolve = ("first", "acme", "messages", "resolve")
    early = acme(*resolve, "m1", "--as", "sent")
    assert (early.exit_code, "pending" in early.stderr) == (5, True)
    on_store(first.settings(), lambda store: finish(store, "m1", Status.UNKNOWN, EventType.UNKNOWN))
    assert [one["id"] for one in acme.json(*LIST, "-s", "unknown")] == ["m1"]
    assert acme(*resolve, "m1").exit_code == 2
    assert acme(*resolve, "m9", "--as", "sent").exit_code == 3
    assert "sent again" in acme.ok(*resolve, "m1", "--as", "retry")
    assert [one["id"] for one in acme.json(*LIST, "-s", "pending")] == ["m1"]


def test_messages_are_deleted(five: CommandLine) -> None:
    assert five("first", "acme", "messages", "delete", "m0").exit_code == 2
    result = five("first", "acme", "messages", "delete", "m0", "m1", "m9", "-f")
    assert result.exit_code == 3
    assert "Deleted 2 of 3" in result.stdout
    assert "'m9'" in result.stderr
    assert five.json("first", "acme", "messages", "delete", "m2", "-f")["removed"] == ["m2"]


def test_no_messages_are_an_empty_array(acme: CommandLine) -> None:
    assert acme.json(*LIST) == []
    assert acme.ok(*LIST) == "No messages.\n"


@pytest.mark.parametrize("words", [["run-now"], ["acme", "run-now"]], ids=" ".join)
def test_run_now_fails_where_no_server_runs(five: CommandLine, words: list[str]) -> None:
    result = five("first", *words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: first is not running.\nStart it with: mail-proxy start first -b\n"


def test_a_message_and_its_account_say_why_it_waits(first: Instance, five: CommandLine) -> None:
    assert "Waits for" not in five.ok("first", "acme", "messages", "show", "m0")

    async def rest(store: Store) -> None:
        tenant = await store.directory.tenant("acme")
        assert tenant is not None
        account = (await store.directory.account_ids(tenant.pk))["main"]
        await store.queue.back_off(
            account, condition=AccountCondition.BACKING_OFF, reason="dns", cause="no such host", delay=600.0
        )

    on_store(first.settings(), rest)
    for words in (("accounts", "show", "main"), ("messages", "show", "m0")):
        shown = five.ok("first", "acme", *words)
        assert re.search(r"Because +dns: no such host\n", shown)
        assert re.search(r"Since .* \(\d+ s ago\)\n", shown)
        assert re.search(r"Next try .* \(in 10 min\)\n", shown)
    assert re.search(r"Waits for +its account, which is backing_off\n", shown)
    assert "Waits for" not in five.ok("first", "acme", "messages", "show", "m4")
