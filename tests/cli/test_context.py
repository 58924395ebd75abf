"""use, current, and commands that name no instance."""

import pytest

from mailproxy.cli.home import Instance
from mailproxy.cli.preparation import BOTH, prepare
from tests.cli.conftest import CommandLine


@pytest.fixture
def two(first: Instance, acme: CommandLine) -> CommandLine:
    """Instances `first`, which has a tenant `acme`, and `second`."""
    second = Instance("second", first.directory.with_name("second"))
    second.create(host="127.0.0.1", port=8001)
    prepare(second.settings(), BOTH)
    return acme


def test_the_only_instance_is_meant_where_none_is_named(acme: CommandLine) -> None:
    result = acme("tenants", "list", "--json")
    assert result.exit_code == 0
    assert '"acme"' in result.stdout
    assert "(first)" in result.stderr
    assert acme.json("current")["source"] == "the only instance"


def test_of_several_instances_one_has_to_be_chosen(two: CommandLine) -> None:
    result = two("tenants", "list")
    assert result.exit_code == 2
    assert "mail-proxy use" in result.stderr
    assert two("current").exit_code == 3
    two.ok("use", "second")
    assert two.json("tenants", "list") == []
    two.ok("use", "first")
    assert [one["id"] for one in two.json("tenants", "list")] == ["acme"]


def test_a_tenant_is_chosen_with_its_instance_or_alone(two: CommandLine) -> None:
    two.ok("use", "first")
    assert two("accounts", "list").exit_code == 2
    two.ok("use", "/acme")
    assert two.json("current") == {"instance": "first", "tenant": "acme", "source": "use"}
    assert [one["id"] for one in two.json("accounts", "list")] == ["main"]
    assert two.json("messages", "list") == []
    two.ok("use", "first/acme")
    assert "(first/acme)" in two("accounts", "list").stderr
    assert two.ok("current", "--export") == "export GMP_INSTANCE=first\nexport GMP_TENANT=acme\n"


def test_what_does_not_exist_cannot_be_chosen(two: CommandLine) -> None:
    assert two("use", "third").exit_code == 3
    assert two("use", "first/nobody").exit_code == 3
    assert two("use", "first", "--clear").exit_code == 2
    assert two("use").exit_code == 2
    assert two("use", "two words").exit_code == 2


def test_the_environment_goes_before_what_was_chosen(two: CommandLine) -> None:
    two.ok("use", "second")
    two.environ |= {"GMP_INSTANCE": "first", "GMP_TENANT": "acme"}
    assert [one["id"] for one in two.json("accounts", "list")] == ["main"]
    assert two.json("current")["source"] == "GMP_INSTANCE"
    two.environ["GMP_INSTANCE"] = "third"
    assert two("tenants", "list").exit_code == 3
    assert two("current").exit_code == 3


def test_what_was_chosen_is_forgotten_when_cleared_or_deleted(two: CommandLine) -> None:
    two.ok("use", "second")
    two.ok("use", "--clear")
    assert two("current").exit_code == 3
    two.ok("use", "second")
    two.ok("delete", "second", "-f")
    assert two.json("current")["instance"] == "first"
