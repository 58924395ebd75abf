"""The tree of commands as a whole."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from mailproxy.cli.main import cli, instance_group, tenant_group
from mailproxy.cli.names import GLOBAL_WORDS, INSTANCE_WORDS
from tests.cli.conftest import CommandLine


def _walk(words: list[str], command: click.Command) -> Iterator[tuple[list[str], click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _walk([*words, name], inner)


TREE = [
    *_walk([], cli),
    *_walk(["first"], instance_group),
    *_walk(["first", "acme"], tenant_group),
]
WITHOUT_RESULT = ("serve", "api", "workers", "connect", "export")
WIDTH = 78  # what click leaves of eighty columns


@pytest.mark.parametrize(
    ("words", "command"), TREE, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_every_command_says_what_it_does(
    words: list[str], command: click.Command, mail_proxy: CommandLine
) -> None:
    help_text = mail_proxy.ok(*words, "--help")
    assert "Usage: " in help_text
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{' '.join(words)} {parameter.name}"


def test_every_result_can_be_had_as_json() -> None:
    for words, command in TREE:
        if not isinstance(command, click.Group) and words[-1] not in WITHOUT_RESULT:
            assert "as_json" in {parameter.name for parameter in command.params}, words


def test_no_command_can_be_hidden_behind_an_instance_or_a_tenant() -> None:
    assert set(cli.commands) <= GLOBAL_WORDS
    assert set(instance_group.commands) <= INSTANCE_WORDS


def test_help_fits_eighty_columns(mail_proxy: CommandLine) -> None:
    for words, _ in TREE:
        told = CliRunner().invoke(cli, [*words, "--help"], env=mail_proxy.environ, terminal_width=WIDTH)
        for line in told.stdout.splitlines():
            assert len(line) <= 80, line
            assert line.startswith("Usage: ") or not line.endswith("..."), line


def test_a_word_kept_for_a_later_command_is_no_instance(mail_proxy: CommandLine) -> None:
    result = mail_proxy("help")
    assert result.exit_code == 2
    assert "No such command 'help'" in result.stderr


def test_the_version_is_told(mail_proxy: CommandLine) -> None:
    assert mail_proxy.ok("--version").startswith("mail-proxy, version ")


def test_a_group_without_a_command_shows_its_help(mail_proxy: CommandLine) -> None:
    assert "Commands:" in mail_proxy.ok()


@pytest.mark.parametrize(
    "words",
    [
        ["start"],
        ["start", "first", "--no-such-option"],
        ["start", "first", "-p", "70000"],
        ["start", "list"],
        ["start", "two words"],
        ["start", "x" * 65],
        ["start", "first", "--database-url", "mysql://x/y"],
    ],
    ids=" ".join,
)
@pytest.mark.bad_input("B37")
def test_wrong_usage_ends_with_2_and_a_hint(words: list[str], mail_proxy: CommandLine) -> None:
    result = mail_proxy(*words)
    assert result.exit_code == 2
    assert "Usage: mail-proxy" in result.stderr
    assert "Error: " in result.stderr
    assert not result.stdout
