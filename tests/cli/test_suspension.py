"""Sending held back and let go from the command line."""

import pytest

from mailproxy.cli.exits import Exit
from tests.cli.conftest import HELLO, CommandLine

HERE = ("first", "acme")


@pytest.fixture
def letters(acme: CommandLine) -> CommandLine:
    """The command line of a tenant with two messages of the batch b1, and one of none."""
    for words in (("--id", "m1", "--batch-code", "b1"), ("--id", "m2", "--batch-code", "b1"), ("--id", "m3")):
        acme.ok(*HERE, "send", "-", *words, input=HELLO)
    return acme


def states(command_line: CommandLine) -> dict[str, str]:
    return {one["id"]: one["status"] for one in command_line.json(*HERE, "messages", "list")}


def test_a_batch_is_held_back_and_let_go(letters: CommandLine) -> None:
    said = letters.ok(*HERE, "suspend", "--batch", "b1")
    assert said == "2 messages wait until: mail-proxy first acme activate --batch b1\n"
    assert states(letters) == {"m1": "suspended", "m2": "suspended", "m3": "pending"}
    assert "mail-proxy first acme activate --batch b1" in letters.ok(*HERE, "messages", "explain", "m1")
    assert letters.json(*HERE, "suspend", "--batch", "b2")["suspended_batches"] == ["b1", "b2"]
    assert letters.ok(*HERE, "activate", "--batch", "b2") == "Batches that stay suspended: b1.\n"
    assert letters.ok(*HERE, "activate", "--batch", "b1") == "Nothing of the tenant is suspended.\n"
    assert set(states(letters).values()) == {"pending"}


def test_a_tenant_is_held_back_and_let_go(letters: CommandLine) -> None:
    assert letters.ok(*HERE, "suspend") == "3 messages wait until: mail-proxy first acme activate\n"
    assert set(states(letters).values()) == {"suspended"}
    assert "mail-proxy first acme activate" in letters.ok(*HERE, "messages", "explain", "m3")
    one = letters(*HERE, "activate", "--batch", "b1")
    assert (one.exit_code, "cannot activate single batch" in one.output) == (Exit.REFUSED, True)
    letters.ok(*HERE, "activate")
    assert set(states(letters).values()) == {"pending"}


def test_everything_is_held_back_only_when_told_twice(letters: CommandLine) -> None:
    unsure = letters("first", "suspend")
    assert (unsure.exit_code, "--force" in unsure.output) == (Exit.USAGE, True)
    said = letters.ok("first", "suspend", "--force")
    assert said == "Nothing is sent until: mail-proxy first activate\n"
    assert letters.json("first", "stats")["active"] is False
    assert "mail-proxy first activate" in letters.ok(*HERE, "messages", "explain", "m3")
    assert letters.json("first", "activate") == {"active": True}
    assert letters.json("first", "stats")["active"] is True


def test_who_or_what_is_not_there_is_told(acme: CommandLine) -> None:
    assert acme("first", "nobody", "suspend").exit_code == Exit.NOT_FOUND
    assert acme("first", "acme", "suspend", "--batch", "no spaces").exit_code == Exit.USAGE
