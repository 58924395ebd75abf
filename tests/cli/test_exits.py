"""Exit codes, and manners at the edges of a process."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from mailproxy import errors
from mailproxy.cli.exits import exit_for
from mailproxy.cli.home import Instance
from tests.cli.conftest import CommandLine, until


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.MailproxyError("x"), 1),
        (errors.NotFound("x"), 3),
        (errors.InvalidInput("x"), 4),
        (errors.QuotaExceeded("x"), 4),
        (errors.Conflict("x"), 5),
        (errors.StorageUnavailable("x"), 6),
        (errors.CommitUnknown("x"), 6),
        (errors.ConfigurationError("x"), 78),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_has_its_exit_code(error: errors.MailproxyError, code: int) -> None:
    assert exit_for(error) == code


@pytest.mark.parametrize(
    "words",
    [
        ["nowhere", "tenants", "list"],
        ["nowhere"],
        ["status", "nowhere"],
        ["stop", "nowhere"],
        ["restart", "nowhere"],
        ["delete", "nowhere", "-f"],
        ["db", "status", "-i", "nowhere"],
    ],
    ids=" ".join,
)
def test_an_instance_that_is_not_there_ends_with_3_and_what_to_do(
    words: list[str], mail_proxy: CommandLine
) -> None:
    result = mail_proxy(*words)
    assert result.exit_code == 3
    assert "mail-proxy start nowhere" in result.stderr


def test_a_misspelt_command_is_recognised(mail_proxy: CommandLine) -> None:
    result = mail_proxy("strat", "first")
    assert result.exit_code == 3
    assert "Did you mean: mail-proxy start" in result.stderr


@pytest.mark.bad_input("B39")
def test_a_database_that_cannot_be_reached_ends_with_6(mail_proxy: CommandLine) -> None:
    result = mail_proxy("start", "first", "--database-url", "postgresql://127.0.0.1:1/none")
    assert result.exit_code == 6
    assert "127.0.0.1:1/none" in result.stderr
    assert mail_proxy.json("list") == [], "nothing is left of what could not be made"


@pytest.mark.bad_input("B40")
def test_a_password_in_a_database_url_is_never_shown(mail_proxy: CommandLine) -> None:
    result = mail_proxy("start", "first", "--database-url", "postgresql://u:hush-hush@127.0.0.1:1/none")
    assert result.exit_code == 6
    assert "Warning: others can see the password" in result.stderr
    assert "hush-hush" not in result.output


@pytest.mark.bad_input("B39")
def test_what_is_no_database_is_named(first: Instance, mail_proxy: CommandLine) -> None:
    first.database_file.write_bytes(b"this is no database at all" * 100)
    result = mail_proxy("first", "tenants", "list")
    assert result.exit_code == 6, result.output
    assert result.stderr.startswith("Error: ")


@pytest.mark.bad_input("B43")
def test_a_broken_configuration_is_named_with_its_line(first: Instance, mail_proxy: CommandLine) -> None:
    with first.config_file.open("a") as file:
        file.write("port = = 3\n")
    result = mail_proxy("first", "info")
    assert result.exit_code == 78
    assert str(first.config_file) in result.stderr
    assert "line 4" in result.stderr


@pytest.mark.bad_input("B43")
def test_a_configuration_that_others_can_read_is_refused(first: Instance, mail_proxy: CommandLine) -> None:
    first.config_file.chmod(0o644)
    result = mail_proxy("first", "info")
    assert result.exit_code == 78
    assert "chmod 600" in result.stderr


@pytest.mark.bad_input("B42")
def test_a_closed_output_ends_quietly(first: Instance, mail_proxy: CommandLine) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = mail_proxy.spawn("first", "info", stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 141
    assert stderr == b""


@pytest.mark.bad_input("B42")
def test_an_interrupt_ends_with_130(first: Instance, mail_proxy: CommandLine) -> None:
    pipe = subprocess.PIPE
    process = mail_proxy.spawn("first", "acme", "send", "-", stdin=pipe, stderr=pipe)
    until(lambda: _is_reading(process.pid))
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert b"Traceback" not in stderr


def _is_reading(pid: int) -> bool:
    """Whether the process sits in read(2) of its stdin, or in a wait that belongs to it."""
    return Path(f"/proc/{pid}/wchan").read_text() in ("pipe_read", "anon_pipe_read")


@pytest.mark.bad_input("B42")
def test_a_locale_without_utf8_shows_what_it_can(acme: CommandLine) -> None:
    acme.ok("first", "tenants", "update", "acme", "--name", "Żółw")
    latin = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "iso-8859-1"}
    table = acme.process("first", "tenants", "list", environ=latin)
    assert table.returncode == 0, table.stderr
    assert b"?\xf3?w" in table.stdout
    document = acme.process("first", "tenants", "list", "--json", environ=latin)
    assert b"\\u017b\\u00f3\\u0142w" in document.stdout


def test_an_argument_that_is_no_text_is_wrong_usage(acme: CommandLine) -> None:
    result = acme.process("first", "tenants", "update", "acme", "--name", os.fsdecode(b"\xff\xfe"))
    assert result.returncode == 2, result.stderr
    assert b"Traceback" not in result.stderr


@pytest.mark.parametrize(
    "words", [["list"], ["start", "a", "-b"], ["status", "a"], ["a", "info"]], ids=" ".join
)
def test_a_home_that_cannot_be_used_is_named_in_one_line(words: list[str], mail_proxy: CommandLine) -> None:
    (mail_proxy.directory / "file").touch()
    home = (
        mail_proxy.directory / "file" / "home" if words[0] == "start" else mail_proxy.directory / ("x" * 300)
    )
    mail_proxy.environ["GMP_HOME"] = str(home)
    result = mail_proxy(*words)
    assert result.exit_code == 78, result.output
    assert str(home) in result.stderr
    assert "set GMP_HOME" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("setting", "remedy"), [("GMP_DB_PATH", "make its folder"), ("GMP_STATE_DIR", "GMP_STATE_DIR")]
)
def test_a_server_that_cannot_keep_its_files_says_which_and_why(
    setting: str, remedy: str, mail_proxy: CommandLine
) -> None:
    (mail_proxy.directory / "file").touch()
    path = str(mail_proxy.directory / "file" / "x")
    environ = {"GMP_API_TOKEN": "t", "GMP_DB_PATH": str(mail_proxy.directory / "mail.db"), setting: path}
    result = mail_proxy.process("serve", "-p", 0, environ=environ)
    assert result.returncode == 78
    (line,) = result.stderr.decode().splitlines()
    assert path in line
    assert remedy in line
