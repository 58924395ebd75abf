"""Suppression lists from the command line, and as files."""

import csv
import io
import json
from pathlib import Path

import pytest

from mailproxy.cli.home import Instance
from mailproxy.cli.suppression_file import parse
from mailproxy.suppressions import Cause
from tests.cli.conftest import HELLO, CommandLine

HERE = ("first", "acme", "suppressions")


def test_addresses_are_added_listed_and_removed(first: Instance, acme: CommandLine) -> None:
    assert acme.ok(*HERE, "list") == "No suppressed addresses.\n"
    assert acme.ok(*HERE, "add", "Gone@example.org") == "Gone@example.org is suppressed.\n"
    until = ("--reason", "complaint", "--until", "2999-01-01T00:00:00Z")
    assert acme.ok(*HERE, "add", "gone@example.org", *until).endswith("was suppressed; changed.\n")
    assert acme.json(*HERE, "add", "b@example.org")["added"] == 1
    table = acme.ok(*HERE, "list").splitlines()
    assert table[0].split() == ["Address", "Reason", "Since", "Until"]
    assert len(table) == 3
    (gone,) = acme.json(*HERE, "list", "-q", "GONE", "--reason", "complaint")
    assert (gone["address"], gone["expires_at"]) == ("gone@example.org", 32472144000)
    limited = acme(*HERE, "list", "--limit", "1")
    assert "more than 1" in limited.stderr
    assert acme.ok(*HERE, "remove", "GONE@example.org").endswith("no longer suppressed.\n")
    assert acme(*HERE, "remove", "gone@example.org").exit_code == 3
    assert acme(*HERE, "add", "no one").exit_code == 4


def test_a_file_is_imported_but_for_the_lines_that_are_no_entry(
    first: Instance, acme: CommandLine, tmp_path: Path
) -> None:
    file = tmp_path / "list.csv"
    lines = [
        "name,Email,reason",
        "Ann,ann@example.org,complaint",
        "Bob,bob@example.org,",
        "Eve,nobody,",
        "x,y@z.org,no",
    ]
    file.write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    done = acme(*HERE, "import", str(file))
    assert (done.exit_code, done.stdout) == (4, "2 added, 0 known before, 2 refused.\n")
    assert "Line 4: " in done.stderr
    assert "Line 5: 'no' is no reason" in done.stderr
    found = {one["address"]: one["reason"] for one in acme.json(*HERE, "list")}
    assert found == {"ann@example.org": "complaint", "bob@example.org": "import"}
    plain = tmp_path / "plain.csv"
    plain.write_text("ann@example.org\ncleo@example.org\n")
    assert acme.ok(*HERE, "import", str(plain)) == "1 added, 1 known before, 0 refused.\n"


def test_what_is_exported_harms_no_spreadsheet_and_is_imported_again(
    first: Instance, acme: CommandLine, tmp_path: Path
) -> None:
    acme.ok(*HERE, "add", "=cmd@example.org", "--reason", "complaint", "--until", "2999-01-01T00:00:00Z")
    told = acme.ok(*HERE, "export")
    (row,) = csv.DictReader(io.StringIO(told))
    assert row["address"] == "'=cmd@example.org"
    acme.ok(*HERE, "remove", "=cmd@example.org")
    file = tmp_path / "list.csv"
    file.write_text(told)
    acme.ok(*HERE, "import", str(file))
    (entry,) = acme.json(*HERE, "list")
    assert (entry["address"], entry["reason"], entry["expires_at"]) == (
        "=cmd@example.org",
        "complaint",
        32472144000,
    )


def test_lines_keep_their_numbers_and_empty_ones_are_skipped() -> None:
    good, bad = parse(["address,expires_at\n", "\n", "a@x.org,soon\n", "b@x.org,4e9\n"], Cause.IMPORT)
    assert [(line.number, line.address, line.expires_at) for line in good] == [(4, "b@x.org", 4e9)]
    assert [number for number, _ in bad] == [3]


@pytest.mark.parametrize("blank", ["\n", " , \n", '""\n'])
def test_blank_lines_before_the_titles_are_skipped(blank: str) -> None:
    good, bad = parse([blank, blank, "Name,E-Mail,Address\n", "Ann,x,a@x.org\n"], Cause.IMPORT)
    assert ([(line.number, line.address) for line in good], bad) == ([(4, "a@x.org")], [])


def test_an_import_goes_on_behind_a_part_of_which_nothing_was_added(
    first: Instance, acme: CommandLine, tmp_path: Path
) -> None:
    file = tmp_path / "list.csv"
    ended = [f"a{number}@x.org,2001-01-01T00:00:00Z" for number in range(1000)]
    file.write_text("\n".join(["address,expires_at", *ended, "b@x.org,"]))
    done = acme(*HERE, "import", str(file))
    assert (done.exit_code, done.stdout) == (4, "1 added, 0 known before, 1000 refused.\n")
    assert "Line 2: Nothing was added: expires_at lies in the past\n" in done.stderr
    assert [one["address"] for one in acme.json(*HERE, "list")] == ["b@x.org"]


@pytest.mark.parametrize("end", ["", "x" * 200_000])
def test_a_file_whose_quotes_do_not_match_is_refused_whole(
    first: Instance, acme: CommandLine, tmp_path: Path, end: str
) -> None:
    file = tmp_path / "list.csv"
    file.write_text(f'address\na@x.org\n"b@x.org\nc@x.org\n{end}')
    done = acme(*HERE, "import", str(file))
    assert done.exit_code == 2
    assert f"{file} cannot be read: line 3: its double quotes do not match" in done.stderr
    assert acme.json(*HERE, "list") == []


def test_a_tenant_says_that_bounces_suppress(first: Instance, acme: CommandLine) -> None:
    changed = acme.json("first", "tenants", "update", "acme", "--suppress-bounces")
    assert changed["suppress_bounces"] is True
    assert "Bounces suppress" in acme.ok("first", "acme", "info")


def test_a_message_that_is_sent_names_who_gets_nothing(first: Instance, acme: CommandLine) -> None:
    acme.ok(*HERE, "add", "bob@example.org")
    refused = acme("first", "acme", "send", "-", input=HELLO)
    assert refused.exit_code == 5
    assert "bob@example.org: suppressed" in refused.stderr
    both = HELLO.replace(b"To: bob@example.org", b"To: bob@example.org, eve@example.org")
    queued = acme("first", "acme", "send", "-", "--json", input=both)
    assert json.loads(queued.stdout)["suppressed"] == ["bob@example.org"]
    assert "bob@example.org is on the suppression list" in queued.stderr
