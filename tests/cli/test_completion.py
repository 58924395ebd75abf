"""What a shell offers, asked the way click's scripts ask."""

import pytest
from click.shell_completion import BashComplete

from mailproxy.cli.home import Instance
from mailproxy.cli.main import cli
from tests.cli.conftest import CommandLine


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ([""], {"first", "list", "doctor"}),
        (["fi"], {"first"}),
        (["first", ""], {"acme", "info", "tenants"}),
        (["first", "tenants", "show", ""], {"acme"}),
        (["first", "acme", ""], {"accounts", "messages"}),
        (["first", "@acme", "accounts", "show", "m"], {"main"}),
        (["first", "acme", "messages", "list", "--account", ""], {"main"}),
        (["first", "acme", "messages", "list", "--s"], {"--status"}),
        (["first", "acme", "messages", "list", "--status", "pen"], {"pending"}),
        (["stop", ""], {"first"}),
        (["doctor", ""], {"first"}),
        (["db", "status", "-i", ""], {"first"}),
        (["tenants", "show", ""], {"acme"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_exists_is_offered(words: list[str], offered: set[str], acme: CommandLine) -> None:
    assert offered <= set(_completed(words))


def test_nothing_that_does_not_fit_is_offered(acme: CommandLine) -> None:
    assert _completed(["first", "tenants", "show", "b"]) == []
    assert _completed(["second", "tenants", "show", ""]) == []
    assert _completed(["first", "tenants", "add", ""]) == [], "a new tenant has a new name"


def test_a_broken_instance_breaks_no_shell(first: Instance, acme: CommandLine) -> None:
    first.database_file.write_text("this is no database, but long enough to be taken for one" * 20)
    assert _completed(["first", "tenants", "show", ""]) == []
    first.config_file.write_text("host = [")
    assert _completed(["first", "tenants", "show", ""]) == []
    assert "first" in _completed(["stop", ""])


def test_a_shell_gets_its_script_and_its_answers(acme: CommandLine) -> None:
    script = acme.process(environ={"_MAIL_PROXY_COMPLETE": "zsh_source"})
    assert b"_MAIL_PROXY_COMPLETE=zsh_complete" in script.stdout
    asked = {
        "_MAIL_PROXY_COMPLETE": "bash_complete",
        "COMP_WORDS": "mail-proxy first tenants show ",
        "COMP_CWORD": "4",
    }
    answer = acme.process(environ=asked)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, b"plain,acme\n", b"")


def _completed(words: list[str]) -> list[str]:
    shell = BashComplete(cli, {}, "mail-proxy", "_MAIL_PROXY_COMPLETE")
    return [item.value for item in shell.get_completions(words[:-1], words[-1])]
