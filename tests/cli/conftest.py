import contextlib
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner, Result

from mailproxy.cli import home
from mailproxy.cli.home import Instance
from mailproxy.cli.main import cli
from mailproxy.cli.preparation import BOTH, prepare

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "mailproxy.cli"]

HELLO = b"""\
From: Ann <ann@example.com>
To: bob@example.org
Subject: Hello
Message-ID: <1@example.com>

Good morning.
"""


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true value of `condition`."""
    ends_at = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < ends_at, "the condition was never met"
        time.sleep(0.01)
    return value


class CommandLine:
    """Types commands, in this process or, for what needs one, in another."""

    def __init__(self, environ: dict[str, str], directory: Path) -> None:
        self.environ = environ
        self.directory = directory

    def __call__(self, *words: object, input: str | bytes | None = None) -> Result:
        return CliRunner().invoke(
            cli, [str(word) for word in words], input=input, env=self.environ, prog_name="mail-proxy"
        )

    def ok(self, *words: object, input: str | bytes | None = None) -> str:
        result = self(*words, input=input)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *words: object, input: str | bytes | None = None) -> Any:
        return json.loads(self.ok(*words, "--json", input=input))

    def process(self, *words: object, **options: Any) -> "subprocess.CompletedProcess[bytes]":
        options = self._options(options) | {"capture_output": True, "timeout": 60}
        return subprocess.run(self._argv(words), check=False, **options)

    def spawn(self, *words: object, **options: Any) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._argv(words), **self._options(options))

    def at_terminal(self, *words: object, answers: Sequence[str]) -> tuple[int, str]:
        """The exit code and everything shown when each of `answers` is typed at the next prompt."""
        ours, theirs = pty.openpty()
        process = self.spawn(*words, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        shown = ""
        for answer in answers:
            before, shown = shown, shown + _read_prompt(ours)
            assert len(shown) > len(before), f"nothing was asked before {answer!r}: {shown}"
            os.write(ours, f"{answer}\n".encode())
        while more := _read(ours, 30.0):
            shown += more
        os.close(ours)
        return process.wait(30), shown

    def _argv(self, words: Sequence[object]) -> list[str]:
        return [*COMMAND, *(str(word) for word in words)]

    def _options(self, options: dict[str, Any]) -> dict[str, Any]:
        environ = os.environ | self.environ | options.pop("environ", {})
        return {"cwd": ROOT, "env": environ} | options


def _read(terminal: int, seconds: float) -> str:
    ready, _, _ = select.select([terminal], [], [], seconds)
    if not ready:
        return ""
    try:
        return os.read(terminal, 65536).decode()
    except OSError:  # what Linux says at the end of a terminal
        return ""


def _read_prompt(terminal: int) -> str:
    """All that comes until a line stays open with a colon at its end."""
    shown = ""
    while not shown.endswith(": "):
        more = _read(terminal, 30.0)
        if not more:
            break
        shown += more
    return shown


@pytest.fixture
def mail_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line with a home of its own and nothing configured."""
    for name in list(os.environ):
        if name.startswith(("GMP_", "MAIL_PROXY_")):
            monkeypatch.delenv(name)
    return CommandLine({"GMP_HOME": str(tmp_path / "home"), "COLUMNS": "80"}, tmp_path)


@pytest.fixture
def first(mail_proxy: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Instance:
    """An instance named `first` that has never run."""
    monkeypatch.setenv("GMP_HOME", mail_proxy.environ["GMP_HOME"])
    instance = home.instance_named("first")
    instance.create(host="127.0.0.1", port=8000)
    prepare(instance.settings(), BOTH)
    return instance


@pytest.fixture
def acme(first: Instance, mail_proxy: CommandLine) -> CommandLine:
    """The command line of the instance `first` with a tenant `acme` and its account `main`."""
    mail_proxy.ok("first", "tenants", "add", "acme")
    mail_proxy.ok("first", "acme", "accounts", "add", "main", "-h", "smtp.example.com")
    return mail_proxy


@pytest.fixture
def servers(mail_proxy: CommandLine) -> Iterator[CommandLine]:
    """The command line for tests that start servers; whatever happens, none survives."""
    yield mail_proxy
    for record in Path(mail_proxy.environ["GMP_HOME"]).glob("*/server.pid"):
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError, ValueError):
            top = psutil.Process(json.loads(record.read_text())["pid"])
            for process in [top, *top.children(recursive=True)]:
                process.kill()
