"""The same commands on a server somewhere else: a real one, reached over HTTP."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.conftest import HELLO, CommandLine, until


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """URL and admin token of a server whose files are nobody's business here."""
    folder = tmp_path_factory.mktemp("elsewhere")
    bare = {name: "" for name in os.environ if name.startswith(("GMP_", "MAIL_PROXY_"))}
    environ = {"GMP_DB_PATH": str(folder / "mail.db"), "GMP_API_TOKEN": "far-away", "GMP_HOST": "127.0.0.1"}
    line = CommandLine(bare | {"GMP_HOME": str(folder / "home")}, folder)
    with (folder / "log").open("wb") as log:
        server = line.spawn("serve", "-p", 0, environ=environ, stdout=log, stderr=log, cwd=folder)
    try:
        port = until(lambda: _port(folder / "log"))
        yield f"http://127.0.0.1:{port}", "far-away"
    finally:
        for process in [*psutil.Process(server.pid).children(recursive=True), server]:
            process.kill()
        server.wait(30)


def _port(log: Path) -> int | None:
    for text in log.read_text().splitlines():
        line = json.loads(text) if text.startswith("{") else {}
        if line.get("event") == "listening":
            return int(line["port"])
    return None


@pytest.fixture
def there(elsewhere: tuple[str, str], mail_proxy: CommandLine) -> tuple[str, ...]:
    """The words that take commands there; no instance exists here."""
    url, token = elsewhere
    until(lambda: mail_proxy("--url", url, "--token", token, "info").exit_code == 0)
    return ("--url", url, "--token", token)


@pytest.fixture
def acme(there: tuple[str, ...], mail_proxy: CommandLine) -> Iterator[tuple[str, ...]]:
    mail_proxy.ok(*there, "tenants", "add", "acme")
    mail_proxy.ok(*there, "acme", "accounts", "add", "main", "-h", "127.0.0.1", "-p", 9)
    yield (*there, "acme")
    mail_proxy.ok(*there, "tenants", "delete", "acme", "-f")


def test_tenants_and_accounts_are_managed(acme: tuple[str, ...], mail_proxy: CommandLine) -> None:
    there = acme[:-1]
    mail_proxy.ok(*there, "tenants", "update", "acme", "--name", "Acme", "--rate-limit-daily", 9)
    shown = mail_proxy.json(*acme, "info")
    assert (shown["name"], shown["rate_limits"]) == ("Acme", {"daily": 9})
    assert [one["id"] for one in mail_proxy.json(*there, "tenants", "list")] == ["acme"]
    mail_proxy.ok(*acme, "accounts", "update", "main", "--tls", "--limit-hour", 3)
    assert mail_proxy.json(*acme, "accounts", "show", "main")["use_tls"] is True
    assert "use_tls" not in mail_proxy.json(*acme, "accounts", "update", "main", "--tls-if-offered")
    assert mail_proxy.json(*acme, "accounts", "reset", "main") == {"ok": True}
    assert mail_proxy.json(*there, "tenants", "webhook-secret", "acme")["webhook_secret"].startswith("whsec_")
    assert "127.0.0.1:9" in mail_proxy.ok(*acme, "accounts", "list")


def test_messages_are_sent_listed_shown_and_deleted(acme: tuple[str, ...], mail_proxy: CommandLine) -> None:
    queued = mail_proxy.json(*acme, "send", "-", "--id", "m1", "-p", "high", input=HELLO)
    assert queued["account_id"] == "main"
    shown = mail_proxy.json(*acme, "messages", "show", "m1")
    assert (shown["pk"], shown["priority"], shown["message"]["subject"]) == (queued["pk"], 1, "Hello")
    assert [one["id"] for one in mail_proxy.json(*acme, "messages", "list")] == ["m1"]
    assert mail_proxy.ok(*acme, "messages", "list", "--csv").startswith("id,pk,")
    assert mail_proxy.json(*acme, "run-now") == {"ok": True}
    assert mail_proxy.json(*acme[:-1], "stats")["messages"]["total"] == 1
    assert mail_proxy(*acme, "messages", "delete", "m1", "m9", "-f").exit_code == 3


def test_a_tenants_key_is_enough_for_its_own_affairs(acme: tuple[str, ...], mail_proxy: CommandLine) -> None:
    url = acme[1]
    key = mail_proxy.ok(*acme[:-1], "tenants", "api-key", "acme").strip()
    mail_proxy.environ |= {"GMP_URL": url, "GMP_API_TOKEN": key}
    result = mail_proxy("acme", "accounts", "list")
    assert (result.exit_code, result.stderr) == (0, f"({url})\n")
    mail_proxy.environ["GMP_TENANT"] = "acme"
    assert mail_proxy("messages", "list").stdout == "No messages.\n"
    assert mail_proxy("tenants", "list").exit_code == 4
    assert mail_proxy("other", "info").exit_code == 4
    assert mail_proxy("list").stdout.startswith("No instances yet")


def test_hints_name_the_server(acme: tuple[str, ...], mail_proxy: CommandLine) -> None:
    url = acme[1]
    for words, code in (
        ((*acme, "messages", "show", "m9"), 3),
        ((*acme, "accounts", "show", "m9"), 3),
        ((*acme[:-1], "tenants", "show", "nobody"), 3),
        ((*acme[:-1], "tenants", "add", "acme"), 5),
    ):
        result = mail_proxy(*words)
        assert result.exit_code == code
        assert f"mail-proxy --url {url}" in result.stderr
        assert "far-away" not in result.output


@pytest.mark.parametrize(
    "words",
    [["token"], ["list"], ["start", "first"], ["db", "status"]],
)
def test_what_needs_this_machine_says_so(
    words: list[str], there: tuple[str, ...], mail_proxy: CommandLine
) -> None:
    result = mail_proxy(*there, *words)
    assert (result.exit_code, result.stdout) == (4, "")
    assert "this machine only" in result.stderr


@pytest.mark.bad_input("B38")
def test_a_wrong_token_is_refused_with_4(there: tuple[str, ...], mail_proxy: CommandLine) -> None:
    result = mail_proxy(*there[:3], "wrong", "tenants", "list")
    assert (result.exit_code, result.stderr) == (4, "Error: Invalid or missing API token.\n")


@pytest.mark.bad_input("B38")
def test_nobody_there_ends_with_6(mail_proxy: CommandLine) -> None:
    result = mail_proxy("--url", "http://127.0.0.1:1", "stats")
    assert result.exit_code == 6
    assert "http://127.0.0.1:1" in result.stderr


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://u:p@x"])
def test_a_url_that_is_none_is_wrong_usage(url: str, mail_proxy: CommandLine) -> None:
    assert mail_proxy("--url", url, "stats").exit_code == 2


def test_a_token_comes_from_a_file(there: tuple[str, ...], mail_proxy: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("far-away\n")
    mail_proxy.environ |= {"GMP_URL": there[1], "GMP_API_TOKEN_FILE": str(tmp_path / "token")}
    assert mail_proxy("stats", "--json").exit_code == 0
    mail_proxy.environ["GMP_API_TOKEN_FILE"] = str(tmp_path / "none")
    assert mail_proxy("stats").exit_code == 2


def test_a_tenants_command_needs_a_tenant(there: tuple[str, ...], mail_proxy: CommandLine) -> None:
    result = mail_proxy(*there, "messages", "list")
    assert result.exit_code == 2
    assert "Which tenant is meant" in result.stderr


def test_the_servers_own_settings_are_changed(there: tuple[str, ...], mail_proxy: CommandLine) -> None:
    changed = mail_proxy.json(*there, "config", "set", "--name", "Far away", "--bounce-processed", "seen")
    assert (changed["name"], changed["bounce_processed"]) == ("Far away", "seen")
    assert mail_proxy.ok(*there, "config", "get", "name") == "Far away\n"
    assert mail_proxy(*there, "config", "show", "--all").exit_code == 4, "its environment is not ours to see"


def test_a_message_is_explained_with_commands_for_that_server(
    acme: tuple[str, ...], mail_proxy: CommandLine
) -> None:
    url = acme[1]
    mail_proxy.ok(*acme, "send", "-", "--id", "m1", input=HELLO)
    rests = until(lambda: _finding("account_rests", mail_proxy.json(*acme, "messages", "explain", "m1")))
    assert rests["blocks"] is True
    assert rests["remedy"] == f"mail-proxy --url {url} acme accounts reset main"
    assert "action" not in rests
    told = mail_proxy.ok(*acme, "messages", "explain", "m1")
    assert told.startswith("m1 is ")
    assert "If it has not gone by" in told
    missing = mail_proxy(*acme, "messages", "explain", "m9")
    assert missing.exit_code == 3
    assert f"mail-proxy --url {url}" in missing.stderr


def _finding(code: str, explained: dict[str, Any]) -> dict[str, Any]:
    """The first of this code, empty when there is none."""
    return next((one for one in explained["findings"] if one["code"] == code), {})
