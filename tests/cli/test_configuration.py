"""NAME config: the instance's own settings."""

import pytest

from mailproxy.cli.home import Instance
from tests.cli.conftest import CommandLine

SET = ("first", "config", "set")


def test_settings_are_changed_one_by_one(first: Instance, mail_proxy: CommandLine) -> None:
    assert mail_proxy.json("first", "config", "show")["name"] == "mail-proxy"
    mail_proxy.ok(*SET, "--name", "Post office")
    options = ["--bounce-enabled", "--bounce-imap-host", "imap.example.com", "--bounce-imap-user", "b"]
    options += ["--bounce-imap-password-file", "-", "--bounce-return-path", "bounces@example.com"]
    shown = mail_proxy.json(*SET, *options, input="hush-hush\n")
    assert shown["name"] == "Post office"
    assert shown["bounce_enabled"] is True
    assert shown["bounce_imap_port"] == 993
    assert shown["bounce_imap_password_set"] is True
    assert shown["bounce_return_path"] == "bounces@example.com"
    changed = mail_proxy.json(*SET, "--bounce-disabled", "--bounce-processed", "move:Done")
    assert (changed["bounce_enabled"], changed["bounce_processed"]) == (False, "move:Done")
    assert changed["bounce_imap_host"] == "imap.example.com"
    assert "hush-hush" not in mail_proxy.ok("first", "config", "show", "--all")


def test_one_setting_is_printed_alone(first: Instance, mail_proxy: CommandLine) -> None:
    assert mail_proxy.ok("first", "config", "get", "name") == "mail-proxy\n"
    assert mail_proxy.ok("first", "config", "get", "bounce_enabled") == "false\n"
    assert mail_proxy.json("first", "config", "get", "bounce_imap_port") == {"bounce_imap_port": 993}
    assert mail_proxy("first", "config", "get", "bounce_imap_host").exit_code == 3


def test_the_servers_settings_are_shown_without_secrets(first: Instance, mail_proxy: CommandLine) -> None:
    token = mail_proxy.ok("first", "token").strip()
    mail_proxy.environ["GMP_MAX_RETRIES"] = "7"
    found = mail_proxy.json("first", "config", "show", "--all")
    assert found["server"]["max_retries"] == 7
    assert found["server"]["api_token"] == "(set)"
    assert token not in mail_proxy.ok("first", "config", "show", "--all")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 1),
        (["--bounce-enabled"], 2),
        (["--bounce-imap-port", "0"], 2),
        (["--bounce-processed", "burn"], 2),
        (["--bounce-return-path", "Ann <a@example.com>"], 2),
        (["--bounce-imap-host", "two words"], 2),
    ],
)
def test_a_wrong_setting_changes_nothing(
    options: list[str], code: int, first: Instance, mail_proxy: CommandLine
) -> None:
    before = mail_proxy.json("first", "config", "show")
    assert mail_proxy(*SET, *options).exit_code == code
    assert mail_proxy.json("first", "config", "show") == before


def test_the_mailbox_is_asked_for_at_a_terminal(first: Instance, mail_proxy: CommandLine) -> None:
    answers = ["yes", "imap.example.com", "", "b", "hush-hush", "", "b@example.com"]
    code, shown = mail_proxy.at_terminal("first", "config", "bounce", answers=answers)
    assert code == 0, shown
    assert "hush-hush" not in shown
    found = mail_proxy.json("first", "config", "show")
    assert (found["bounce_enabled"], found["bounce_imap_user"]) == (True, "b")
    assert found["bounce_imap_password_set"] is True
    code, shown = mail_proxy.at_terminal("first", "config", "bounce", answers=["no"])
    assert code == 0, shown
    assert mail_proxy.json("first", "config", "show")["bounce_imap_host"] == "imap.example.com"
