"""The demo as its user runs it: everything arrives, and nothing stays behind."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

DEMO = [sys.executable, "-m", "mailproxy.cli", "demo"]


@pytest.fixture
def environ() -> Iterator[dict[str, str]]:
    """Whatever the demo leaves would be in this folder; its path is short enough for local sockets in it."""
    with tempfile.TemporaryDirectory(prefix="demo-test-") as folder:
        Path(folder).chmod(0o755)
        yield {**os.environ, "TMPDIR": folder, "COLUMNS": "80"}


def processes_of(scratch: str) -> list[psutil.Process]:
    """Those that were started for the demo: its folder is in their environment or command line."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values(), process.cwd()]
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(scratch in word for word in words):
            found.append(process)
    return found


def remains(environ: dict[str, str]) -> list[object]:
    """Processes and files, but for the lock that the PostgreSQL wheel keeps for all its users."""
    files = [path for path in Path(environ["TMPDIR"]).iterdir() if path.name != ".lockfile"]
    return [*processes_of(environ["TMPDIR"]), *files]


def wait_until(condition: Callable[[], bool], seconds: float = 45.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.02)


@pytest.mark.parametrize("options", [[], ["--postgres"]], ids=["sqlite", "postgres"])
def test_every_message_arrives_and_nothing_stays_behind(environ: dict[str, str], options: list[str]) -> None:
    done = subprocess.run(
        [*DEMO, "--json", *options], env=environ, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["sent"], told["refused"], told["retried"], told["reported"]) == (199, 1, 1, 200)
    assert told["faults"] == []
    assert told["seconds"] < 20
    assert "X-Genro-Mail-ID: demo-001\r\n" in told["received"]
    assert remains(environ) == []


def test_the_plain_output_fits_80_columns_and_ends_with_a_message(environ: dict[str, str]) -> None:
    done = subprocess.run(
        [*DEMO, "--messages", "20"], env=environ, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split()[:2] == ["Sent", "19"] for line in lines)
    assert "  X-Genro-Mail-ID: demo-001" in lines


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("options", [[], ["--postgres"]], ids=["sqlite", "postgres"])
def test_an_interrupted_demo_leaves_nothing_behind(
    environ: dict[str, str], options: list[str], number: signal.Signals
) -> None:
    demo = subprocess.Popen([*DEMO, *options], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: len(processes_of(environ["TMPDIR"])) > 4)
        demo.send_signal(number)
        assert demo.wait(45) == 130
    finally:
        demo.kill()
        demo.communicate()
    assert remains(environ) == []


def test_a_demo_whose_server_cannot_start_shows_its_last_lines_and_fails(environ: dict[str, str]) -> None:
    script = (
        "import sys; from mailproxy.demo import run, service; "
        "service.Service.__init__.__kwdefaults__['settings'] = {'GMP_LEASE_SECONDS': 'soon'}; "
        "sys.exit(run.run_demo(postgres=False))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environ, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "GMP_LEASE_SECONDS" in done.stderr
    assert remains(environ) == []
