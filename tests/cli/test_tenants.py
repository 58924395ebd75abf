import json
import re

import pytest

from mailproxy import webhooks
from mailproxy.cli.home import Instance
from mailproxy.cli.server import on_store
from mailproxy.records import TenantWrite
from mailproxy.store import Store
from tests.cli.conftest import CommandLine


def test_a_new_tenant_gets_a_key_that_is_shown_once(first: Instance, mail_proxy: CommandLine) -> None:
    made = mail_proxy.json("first", "tenants", "add", "acme", "--name", "Acme Inc.")
    assert made["api_key"].startswith("mp_")
    shown = mail_proxy.json("first", "tenants", "show", "acme")
    assert shown["name"] == "Acme Inc."
    assert shown["active"] is True
    assert made["api_key"] not in str(shown)


def test_a_tenant_is_described_by_options(first: Instance, mail_proxy: CommandLine) -> None:
    options = ["--base-url", "https://app.example.com", "--sync-path", "/in", "--attachment-path", "/out"]
    options += [
        "--auth-method",
        "basic",
        "--auth-user",
        "u",
        "--auth-password-file",
        "-",
        "--rate-limit-hourly",
        "5",
    ]
    mail_proxy.ok("first", "tenants", "add", "acme", *options, "--inactive", input="hush\n")
    shown = mail_proxy.json("first", "tenants", "show", "acme")
    assert shown["client_base_url"] == "https://app.example.com"
    assert shown["client_sync_path"] == "/in"
    assert shown["client_attachment_path"] == "/out"
    assert shown["client_auth"]["method"] == "basic"
    assert shown["rate_limits"] == {"hourly": 5}
    assert shown["active"] is False
    assert "hush" not in str(shown)


def test_an_update_changes_only_what_is_given(first: Instance, mail_proxy: CommandLine) -> None:
    url = "https://app.example.com"
    mail_proxy.ok(
        "first", "tenants", "add", "acme", "--name", "A", "--base-url", url, "--rate-limit-daily", "9"
    )
    shown = mail_proxy.json("first", "tenants", "update", "acme", "--rate-limit-hourly", "3", "--inactive")
    assert shown["name"] == "A"
    assert shown["client_base_url"] == url
    assert shown["rate_limits"] == {"hourly": 3, "daily": 9}
    assert shown["active"] is False


def test_large_files_are_configured_from_a_file(first: Instance, mail_proxy: CommandLine) -> None:
    wanted = {"enabled": True, "max_size_mb": 2, "action": "reject"}
    mail_proxy.ok(
        "first", "tenants", "add", "acme", "--large-files", "-", "--name", "A", input=json.dumps(wanted)
    )
    assert mail_proxy.json("first", "tenants", "show", "acme")["large_file_config"] == wanted
    for text in ("[]", "{"):
        wrong = mail_proxy("first", "tenants", "update", "acme", "--large-files", "-", input=text)
        assert wrong.exit_code == 2, wrong.output


def test_an_update_of_nothing_is_wrong_usage(acme: CommandLine) -> None:
    assert acme("first", "tenants", "update", "acme").exit_code == 2


@pytest.mark.bad_input("B40")
def test_a_secret_typed_as_an_option_is_warned_about(first: Instance, mail_proxy: CommandLine) -> None:
    url = ["--base-url", "https://app.example.com"]
    result = mail_proxy("first", "tenants", "add", "acme", *url, "--auth-token", "hush")
    assert result.exit_code == 0
    assert "Warning: --auth-token can be seen" in result.stderr
    assert "hush" not in result.output
    assert mail_proxy.json("first", "tenants", "show", "acme")["client_auth"]["method"] == "bearer"


@pytest.mark.parametrize(
    "options",
    [
        ["--base-url", "ftp://x"],
        ["--base-url", "https://u:p@x/"],
        ["--sync-path", "with space"],
        ["--auth-method", "bearer"],
        ["--auth-method", "digest"],
        ["--rate-limit-hourly", "-1"],
        ["--auth-token", "a", "--auth-token-file", "b"],
        ["--auth-password-file", "/no/such/file"],
    ],
    ids=" ".join,
)
def test_a_wrong_option_is_wrong_usage(options: list[str], first: Instance, mail_proxy: CommandLine) -> None:
    result = mail_proxy("first", "tenants", "add", "acme", *options)
    assert result.exit_code == 2, result.output
    assert mail_proxy.json("first", "tenants", "list") == []


@pytest.mark.parametrize("name", ["info", "run-now", "tenants", "a b", "", "-x"])
def test_a_tenant_cannot_have_the_name_of_a_command(
    name: str, first: Instance, mail_proxy: CommandLine
) -> None:
    assert mail_proxy("first", "tenants", "add", "--", name).exit_code == 2


def test_a_tenant_is_added_only_once(acme: CommandLine) -> None:
    result = acme("first", "tenants", "add", "acme")
    assert result.exit_code == 5
    assert "tenants update acme" in result.stderr


def test_tenants_are_listed_past_a_page(first: Instance, mail_proxy: CommandLine) -> None:
    for name in ("a", "b", "c"):
        mail_proxy.ok("first", "tenants", "add", name, *(["--inactive"] if name == "b" else []))
    assert [one["id"] for one in mail_proxy.json("first", "tenants", "list")] == ["a", "b", "c"]
    assert [one["id"] for one in mail_proxy.json("first", "tenants", "list", "-a")] == ["a", "c"]
    table = mail_proxy.ok("first", "tenants", "list")
    assert table.splitlines()[0].split() == ["ID", "Name", "Active", "Base", "URL"]


def test_a_new_key_takes_the_place_of_the_former(acme: CommandLine) -> None:
    assert acme.ok("first", "tenants", "api-key", "acme").startswith("mp_")
    assert acme("first", "tenants", "api-key", "nobody").exit_code == 3


def test_deleting_needs_force_where_nobody_can_be_asked(acme: CommandLine) -> None:
    assert acme("first", "tenants", "delete", "acme").exit_code == 2
    acme.ok("first", "tenants", "delete", "acme", "-f")
    assert acme("first", "tenants", "delete", "acme", "-f").exit_code == 3


def test_a_tenant_that_is_not_there_ends_with_3_and_what_to_do(
    first: Instance, mail_proxy: CommandLine
) -> None:
    for words in (["info"], ["accounts", "list"], ["messages", "list"], ["run-now"]):
        result = mail_proxy("first", "acme", *words)
        assert result.exit_code == 3
        assert "tenants add acme" in result.stderr


def test_what_a_terminal_would_obey_is_not_printed(acme: CommandLine) -> None:
    acme.ok("first", "tenants", "update", "acme", "--name", "[red]plain[/red]")
    assert "[red]plain[/red]" in acme.ok("first", "tenants", "list")


def test_tenants_named_like_a_domain_or_a_command_can_be_reached(
    first: Instance, mail_proxy: CommandLine
) -> None:
    mail_proxy.ok("first", "tenants", "add", "acme.example")
    assert mail_proxy.json("first", "acme.example", "info")["id"] == "acme.example"
    assert mail_proxy("first", "tenants", "add", "stats").exit_code == 2

    async def work(store: Store) -> None:
        await store.directory.put_tenant(TenantWrite(id="stats"), None, None)

    on_store(first.settings(), work)
    assert mail_proxy.json("first", "@stats", "info")["id"] == "stats"
    assert mail_proxy("first", "@", "info").exit_code == 2


def test_calls_are_signed_with_a_secret_that_is_shown_once(acme: CommandLine) -> None:
    made = acme.json("first", "tenants", "webhook-secret", "acme")["webhook_secret"]
    assert webhooks.key_of(made)
    shown = acme.ok("first", "tenants", "show", "acme")
    assert re.search(r"Calls are signed +yes", shown)
    assert made not in shown
    changed = acme.json("first", "tenants", "webhook-secret", "acme", "--keep-previous", "60")
    assert changed["previous_until"] > 0
    own = webhooks.new_secret()
    told = acme.ok("first", "tenants", "webhook-secret", "acme", "--secret-file", "-", input=f"{own}\n")
    assert own not in told
    acme.ok("first", "tenants", "webhook-secret", "acme", "--remove")
    assert acme.json("first", "tenants", "show", "acme")["webhook_secret_set"] is False


def test_what_is_no_webhook_secret_is_wrong_usage(acme: CommandLine) -> None:
    said = acme("first", "tenants", "webhook-secret", "acme", "--secret-file", "-", input="hush\n")
    assert said.exit_code == 2
    assert "hush" not in said.output
