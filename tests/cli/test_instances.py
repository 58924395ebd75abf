"""Instances on disk and their servers, which are real ones."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from mailproxy.cli import process
from mailproxy.cli.home import Instance, instance_named
from tests.cli.conftest import HELLO, ROOT, CommandLine, until
from tests.support.smtp import read_log


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The port of an SMTP sink and its log."""
    log = tmp_path / "sink.log"
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "tests.support.smtp", "--log", str(log), "--with-parent"]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=ROOT) as server:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["port"], log
        server.kill()


def _get(port: int, token: str, path: str) -> dict[str, Any]:
    """What the API answers, but for its `ok`."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"X-API-Token": token})
    with urllib.request.urlopen(request, timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
    found.pop("ok", None)
    return found


def _start(command_line: CommandLine, port: int) -> psutil.Process:
    done = command_line.process("start", "first", "-h", "127.0.0.1", "-p", port, "-b")
    assert done.returncode == 0, done.stderr.decode()
    return psutil.Process(command_line.json("status", "first")["pid"])


def test_a_newcomer_sends_a_first_message(
    servers: CommandLine, port: int, sink: tuple[int, Path], tmp_path: Path
) -> None:
    smtp_port, log = sink
    (tmp_path / "hello.eml").write_bytes(HELLO)
    started = servers.process("start", "first", "-h", "127.0.0.1", "-p", port, "-b")
    assert started.returncode == 0, started.stderr
    shown = started.stdout.decode()
    token = servers.ok("first", "token").strip()
    for part in (f"http://127.0.0.1:{port}", token, "mail-proxy first tenants add"):
        assert part in shown
    servers.ok("first", "tenants", "add", "acme")
    servers.ok("first", "acme", "accounts", "add", "main", "-h", "127.0.0.1", "-p", smtp_port)
    queued = servers.json("first", "acme", "send", tmp_path / "hello.eml")["id"]
    until(lambda: servers.json("first", "acme", "messages", "show", queued)["status"] == "sent")
    assert len(read_log(log)) == 1
    assert servers.json("first", "stats")["messages"]["sent"] == 1
    _compare_with_the_api(servers, port, token, queued)
    assert "already running" in servers.ok("start", "first")
    stopped = servers.process("stop", "first", "--json")
    assert json.loads(stopped.stdout)["status"] == "stopped", stopped.stderr
    assert "not running" in servers.ok("stop", "first")


def _compare_with_the_api(servers: CommandLine, port: int, token: str, message: str) -> None:
    shown = servers.json("first", "acme", "messages", "show", message)
    events = _get(port, token, f"/messages/{message}/events?tenant_id=acme")["events"]
    assert shown.pop("events") == events != []
    assert shown == _get(port, token, f"/messages/{message}?tenant_id=acme")
    assert servers.json("first", "acme", "info") == _get(port, token, "/tenant/acme")
    account = servers.json("first", "acme", "accounts", "show", "main")
    assert account == _get(port, token, "/account/main?tenant_id=acme")
    (listed,) = servers.json("list")
    assert (listed["status"], listed["port"]) == ("running", port)
    assert servers.json("status", "first")["ready"] is True


@pytest.mark.bad_input("B43")
def test_everything_of_an_instance_is_for_its_owner_only(first: Instance) -> None:
    for path in (first.directory, first.config_file, first.directory / "mail_service.db.key"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_restart_keeps_the_address(servers: CommandLine, port: int) -> None:
    before = _start(servers, port)
    restarted = servers.process("restart", "first", "--json")
    assert restarted.returncode == 0, restarted.stderr
    after = servers.json("status", "first")
    assert json.loads(restarted.stdout)["pid"] == after["pid"]
    assert after["port"] == port
    assert after["ready"] is True
    assert after["pid"] != before.pid
    assert not before.is_running() or before.status() == psutil.STATUS_ZOMBIE


def test_a_forced_stop_leaves_no_process_behind(servers: CommandLine, port: int) -> None:
    supervisor = _start(servers, port)
    everybody = [supervisor, *until(lambda: supervisor.children(recursive=True))]
    servers.ok("stop", "first", "--force")
    until(lambda: all(_is_gone(one) for one in everybody))


def _is_gone(one: psutil.Process) -> bool:
    try:
        return one.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.bad_input("B41")
def test_a_killed_server_counts_as_stopped_and_starts_again(servers: CommandLine, port: int) -> None:
    supervisor = _start(servers, port)
    family = supervisor.children(recursive=True)
    supervisor.kill()
    until(lambda: servers.json("status", "first")["status"] == "stopped")
    until(lambda: all(_is_gone(one) for one in family))
    assert _start(servers, port).pid != supervisor.pid


@pytest.mark.bad_input("B41")
def test_a_process_that_was_given_a_servers_pid_is_left_alone(
    first: Instance, mail_proxy: CommandLine
) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        record = {
            "pid": stranger.pid,
            "port": 1,
            "host": "127.0.0.1",
            "started_at": time.time(),
            "birth": "earlier",
        }
        first.pid_file.write_text(json.dumps(record))
        assert mail_proxy.json("status", "first")["status"] == "stopped"
        for words in (["stop", "first"], ["stop", "first", "-f"], ["delete", "first", "-f"]):
            mail_proxy.ok(*words)
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("content", ["", "[]", "nonsense", '{"pid": 1}', '{"pid": "x"}'])
def test_a_pid_file_nobody_can_read_means_stopped(
    content: str, first: Instance, mail_proxy: CommandLine
) -> None:
    first.pid_file.write_text(content)
    assert mail_proxy.json("status", "first")["status"] == "stopped"


def test_a_birth_tells_processes_apart() -> None:
    ours = process.birth_of(os.getpid())
    assert ours == process.birth_of(os.getpid())
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as later:
        assert process.birth_of(later.pid) not in (None, ours)
        later.kill()
        until(lambda: process.birth_of(later.pid) is None)


def test_a_port_that_is_taken_is_a_conflict(mail_proxy: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        result = mail_proxy("start", "first", "-h", "127.0.0.1", "-p", taken, "-b")
    assert result.exit_code == 5
    assert f"Port {taken} is taken" in result.stderr
    assert "start first -p " in result.stderr
    assert mail_proxy.json("list") == []


def test_a_background_start_that_fails_shows_the_log(servers: CommandLine, port: int) -> None:
    result = servers.process("start", "first", "-h", "192.0.2.1", "-p", port, "-b")
    assert result.returncode == 1
    assert b"cannot_listen" in result.stderr
    assert b"server.log" in result.stderr


def test_two_starts_at_once_make_one_server(servers: CommandLine, port: int) -> None:
    pipe = subprocess.PIPE
    options = ["-h", "127.0.0.1", "-p", port, "-b"]
    both = [servers.spawn("start", "first", *options, stdout=pipe, stderr=pipe) for _ in range(2)]
    for one in both:
        _, stderr = one.communicate(timeout=60)
        assert one.returncode == 0, stderr.decode()
    pid = servers.json("status", "first")["pid"]
    here = servers.environ["GMP_HOME"]
    ours = [one for one in psutil.process_iter(["cmdline"]) if "start" in (one.info["cmdline"] or ())]
    ours = [
        one for one in ours if one.environ().get("GMP_HOME", here) == here and str(port) in str(one.cmdline())
    ]
    assert [one.pid for one in ours if one.ppid() not in {other.pid for other in ours}] == [pid]


def test_an_interrupt_ends_a_foreground_server(servers: CommandLine, port: int) -> None:
    pipe = subprocess.PIPE
    server = servers.spawn("start", "first", "-h", "127.0.0.1", "-p", port, stdout=pipe, stderr=pipe)
    until(lambda: instance_exists(servers) and servers.json("status", "first").get("ready"))
    server.send_signal(signal.SIGINT)
    stdout, stderr = server.communicate(timeout=60)
    assert server.returncode == 0, stderr.decode()
    assert b"Ctrl-C stops it" in stdout
    assert servers.json("status", "first")["status"] == "stopped"


def instance_exists(command_line: CommandLine) -> bool:
    return Path(command_line.environ["GMP_HOME"], "first", "config.toml").exists()


def test_a_running_instance_is_not_deleted_by_accident(servers: CommandLine, port: int) -> None:
    supervisor = _start(servers, port)
    result = servers("delete", "first")
    assert result.exit_code == 5
    assert "mail-proxy stop first" in result.stderr
    servers.ok("delete", "first", "-f")
    until(lambda: _is_gone(supervisor))
    assert servers.json("list") == []
    assert servers("delete", "first", "-f").exit_code == 3


def test_deleting_asks_at_a_terminal(first: Instance, mail_proxy: CommandLine) -> None:
    code, shown = mail_proxy.at_terminal("delete", "first", answers=["y"])
    assert code == 0, shown
    assert not first.directory.exists()


def test_the_data_of_an_instance_are_its_own(first: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GMP_DB_PATH", "/elsewhere.db")
    monkeypatch.setenv("GMP_DATABASE_URL", "postgresql://elsewhere/x")
    assert first.settings().database.path == first.database_file


def test_new_instances_take_the_first_port_that_nobody_has(mail_proxy: CommandLine, first: Instance) -> None:
    from mailproxy.cli import instances  # noqa: PLC0415 a private choice made visible

    assert instances._free_port("127.0.0.1") > 8000


def test_a_token_is_made_anew(first: Instance, mail_proxy: CommandLine) -> None:
    before = mail_proxy.ok("first", "token")
    after = mail_proxy.ok("first", "token", "--regenerate")
    assert before != after == mail_proxy.ok("first", "token")
    assert mail_proxy.json("first", "info")["api_token"] == after.strip()
    assert after.strip() not in mail_proxy.ok("first", "info")
    assert stat.S_IMODE(first.config_file.stat().st_mode) == 0o600


def test_an_instance_keeps_the_database_it_was_made_with(first: Instance, mail_proxy: CommandLine) -> None:
    result = mail_proxy("start", "first", "--database-url", "postgresql://127.0.0.1/other")
    assert result.exit_code == 5


def test_a_forgotten_database_is_never_taken_over(mail_proxy: CommandLine) -> None:
    directory = Path(mail_proxy.environ["GMP_HOME"], "old")
    directory.mkdir(parents=True)
    (directory / "mail_service.db").write_bytes(b"")
    assert mail_proxy("start", "old", "-b").exit_code == 5
    assert (directory / "mail_service.db").exists()


def test_an_instance_is_found_only_with_its_configuration(first: Instance) -> None:
    assert instance_named("first").exists
    assert not instance_named("second").exists
