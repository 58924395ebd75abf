"""Servers configured by the environment, and the environment their programs read."""

import json
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from mailproxy import config
from mailproxy.cli.preparation import export
from tests.cli.conftest import CommandLine, until


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _answers(port: int, path: str, token: str = "") -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"X-API-Token": token})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


def test_all_that_is_missing_is_said_at_once(mail_proxy: CommandLine) -> None:
    result = mail_proxy.process("serve", environ={"GMP_DATABASE_URL": "postgresql://127.0.0.1:1/x"})
    assert result.returncode == 78
    assert b"GMP_API_TOKEN" in result.stderr
    assert b"MAIL_PROXY_ENCRYPTION_KEY" in result.stderr
    assert b"Traceback" not in result.stderr


def test_a_wrong_setting_is_named(mail_proxy: CommandLine) -> None:
    result = mail_proxy.process("serve", environ={"GMP_MAX_SENDERS": "many", "GMP_PORT": "x"})
    assert result.returncode == 78
    assert b"GMP_MAX_SENDERS" in result.stderr
    assert b"GMP_PORT" in result.stderr


def test_serve_makes_its_database_and_key_and_stops_in_order(
    mail_proxy: CommandLine, port: int, tmp_path: Path
) -> None:
    environ = {"GMP_DB_PATH": str(tmp_path / "mail.db"), "GMP_API_TOKEN": "secret", "GMP_HOST": "127.0.0.1"}
    pipe = subprocess.PIPE
    server = mail_proxy.spawn("serve", "-p", port, environ=environ, stdout=pipe, stderr=pipe)
    try:
        until(lambda: _answers(port, "/readyz") == 200)
        assert _answers(port, "/status") == 401
        assert _answers(port, "/status", "secret") == 200
        assert (tmp_path / "mail.db.key").stat().st_mode & 0o077 == 0
        server.send_signal(signal.SIGTERM)
        _, stderr = server.communicate(timeout=60)
    finally:
        server.kill()
    assert server.returncode == 0, stderr.decode()
    status = mail_proxy.process("db", "status", "--json", environ=environ)
    assert status.returncode == 0, status.stderr


def test_a_server_told_so_starts_suspended_until_it_is_activated(
    mail_proxy: CommandLine, port: int, tmp_path: Path
) -> None:
    environ = {
        "GMP_DB_PATH": str(tmp_path / "mail.db"),
        "GMP_API_TOKEN": "secret",
        "GMP_HOST": "127.0.0.1",
        "GMP_SCHEDULER_ACTIVE": "false",
    }
    server = mail_proxy.spawn("serve", "-p", port, environ=environ, stderr=subprocess.PIPE)
    try:
        roles = {"api", "imap", "maintenance", "reporter", "scout"}
        until(lambda: set(_json(port, "/status").get("processes", ())) == roles)
        assert _json(port, "/status")["active"] is False
        assert _json(port, "/commands/activate", b"{}") == {"ok": True, "active": True}
        assert _json(port, "/status")["active"] is True
        server.send_signal(signal.SIGTERM)
        _, stderr = server.communicate(timeout=60)
    finally:
        server.kill()
    assert b"Warning" not in stderr, stderr.decode()
    assert b"GMP_SCHEDULER_ACTIVE" in stderr


def _json(port: int, path: str, body: bytes | None = None) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", body, headers={"X-API-Token": "secret"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return dict(json.load(answer))
    except OSError:
        return {}


def test_workers_need_no_token(mail_proxy: CommandLine, tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    server = mail_proxy.spawn("workers", environ={"GMP_DB_PATH": str(tmp_path / "mail.db")}, stderr=pipe)
    assert server.stderr is not None
    try:
        for line in server.stderr:
            if b'"ready"' in line and b'"maintenance"' in line:
                break
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
    finally:
        server.kill()
    assert server.returncode == 0


def test_migrations_are_listed_and_applied(mail_proxy: CommandLine, tmp_path: Path) -> None:
    environ = {"GMP_DB_PATH": str(tmp_path / "mail.db")}
    before = mail_proxy.process("db", "status", environ=environ)
    assert before.returncode == 1
    assert b"missing" in before.stdout
    assert mail_proxy.process("db", "migrate", environ=environ).returncode == 0
    after = mail_proxy.process("db", "status", environ=environ)
    assert after.returncode == 0
    assert b"missing" not in after.stdout


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"GMP_DB_PATH": "/x/mail.db", "GMP_RETRY_DELAYS": "1m,0.5,2h", "GMP_DEFAULT_PRIORITY": "high"},
        {"GMP_DATABASE_URL": "postgresql://u:p@h/d", "GMP_DEBUG": "yes", "GMP_ATTACHMENT_BASE_DIR": "/a,/b"},
        {"LOG_LEVEL": "warn", "GMP_LEASE_SECONDS": "0.00002", "GMP_EGRESS_ALLOW": "10.0.0.0/8,example.com"},
    ],
    ids=str,
)
def test_the_exported_environment_says_the_same(environ: dict[str, str]) -> None:
    settings = config.load({"HOME": "/home/x", **environ})
    exported = {"HOME": "/home/x", **environ, "GMP_API_TOKEN": "not among the settings"}
    export(settings, exported)
    assert _plain(config.load(exported)) == _plain(settings)


def test_secrets_reach_the_api_wherever_they_come_from(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    exported = {"HOME": "/home/x", "GMP_API_TOKEN_FILE": str(tmp_path / "token")}
    export(config.load(exported), exported)
    assert exported == {"HOME": "/home/x", "GMP_API_TOKEN": "secret"}


def _plain(settings: config.Settings) -> dict[str, Any]:
    return settings.model_dump(exclude={"warnings"})
