"""Instances and servers on PostgreSQL."""

import base64
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailproxy.cli import home
from mailproxy.cli.preparation import BOTH, prepare
from mailproxy.keyfile import ensure_key_file
from tests.cli.conftest import HELLO, CommandLine, until
from tests.support import postgres


@pytest.fixture
def url(postgres_server: str) -> Iterator[str]:
    with postgres.database(postgres_server) as found:
        yield found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_an_instance_can_keep_its_data_in_postgresql(servers: CommandLine, url: str) -> None:
    options = ["-h", "127.0.0.1", "-p", _free_port(), "-b", "--database-url", url]
    started = servers.process("start", "first", *options)
    assert started.returncode == 0, started.stderr
    servers.ok(
        "first",
        "tenants",
        "add",
        "acme",
        "--base-url",
        "https://x.example",
        "--auth-token-file",
        "-",
        input="t",
    )
    assert [one["id"] for one in servers.json("first", "tenants", "list")] == ["acme"]
    key = Path(servers.environ["GMP_HOME"], "first", "encryption.key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert servers.ok("db", "status", "-i", "first")
    assert servers.process("restart", "first").returncode == 0
    deleted = servers.ok("delete", "first", "-f")
    assert "was left as it is: postgresql://" in deleted


def test_the_tools_for_operators_work_on_postgresql(
    mail_proxy: CommandLine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GMP_HOME", mail_proxy.environ["GMP_HOME"])
    instance = home.instance_named("first")
    instance.create(host="127.0.0.1", port=8000, database_url=url)
    (old,) = ensure_key_file(instance.key_file)
    instance.remember(encryption_key_file=str(instance.key_file))
    prepare(instance.settings(), BOTH)
    mail_proxy.ok("first", "tenants", "add", "acme")
    account = ["-h", "localhost", "-u", "ann", "--password-stdin"]
    mail_proxy.ok("first", "acme", "accounts", "add", "main", *account, input="hush\n")
    mail_proxy.ok("first", "acme", "send", "-", "--id", "m1", input=HELLO)

    found = mail_proxy.json("first", "acme", "messages", "explain", "m1")["findings"]
    assert [one["code"] for one in found if one["blocks"]] == ["no_workers"]
    assert mail_proxy.json("doctor", "first", "--offline")["ok"] is True
    assert mail_proxy.json("keys", "rotate", "-i", "first")["resealed"] >= 2
    (new,) = ensure_key_file(instance.key_file)
    assert new != old
    assert mail_proxy.json("first", "acme", "accounts", "list")[0]["password_set"] is True
    assert [one["role"] for one in mail_proxy.json("keys", "list", "-i", "first")] == ["seals"]


def test_two_servers_may_start_at_once_on_an_empty_database(
    mail_proxy: CommandLine, url: str, tmp_path: Path
) -> None:
    environ = {
        "GMP_DATABASE_URL": url,
        "GMP_API_TOKEN": "secret",
        "MAIL_PROXY_ENCRYPTION_KEY": base64.b64encode(b"k" * 32).decode(),
        "GMP_HOST": "127.0.0.1",
        "GMP_API_WORKERS": "1",
    }
    ports = [_free_port(), _free_port()]
    pipe = subprocess.PIPE
    both = [
        mail_proxy.spawn(
            "serve", "-p", port, environ=environ | {"GMP_STATE_DIR": str(tmp_path / str(port))}, stderr=pipe
        )
        for port in ports
    ]
    try:
        for port in ports:
            until(lambda port=port: _listens(port))  # type: ignore[misc]
        for one in both:
            one.send_signal(signal.SIGTERM)
        for one in both:
            _, stderr = one.communicate(timeout=60)
            assert one.returncode == 0, stderr.decode()
    finally:
        for one in both:
            one.kill()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
