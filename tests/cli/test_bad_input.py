"""Bad input at the command line that no other test of a command meets, by its row in the table."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mailproxy.cli.home import Instance
from tests.cli.conftest import CommandLine


@contextlib.contextmanager
def answering(status: int, kind: str, body: bytes) -> Iterator[int]:
    """The port of a server that says the same to everybody."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.bad_input("B37")
@pytest.mark.parametrize(
    "words",
    [
        ["first", "acme", "send", "-"],
        ["first", "acme", "send", "no-such-file.eml"],
        ["first", "acme", "accounts", "add", "x", "-h", "http://smtp.example.com", "-y"],
        ["first", "acme", "accounts", "update", "main", "--password-stdin"],
        ["first", "acme", "messages", "list", "--limit", "many"],
        ["first", "tenants", "webhook-secret", "acme", "--secret-file", "-"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_ends_with_2_or_4_and_one_line(words: list[str], acme: CommandLine) -> None:
    result = acme(*words, input="")
    assert result.exit_code in (2, 4), result.output
    assert not result.stdout
    assert result.stderr.count("Error: ") == 1
    assert "Traceback" not in result.stderr


@pytest.mark.bad_input("B38")
@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (
            503,
            "application/json",
            b'{"detail":"The database is away","code":"storage_unavailable","request_id":"x"}',
        ),
        (502, "text/html", b"<html>Bad Gateway</html>"),
        (200, "text/html", b"<html>Log in here</html>"),
        (200, "application/json", b"[1, 2"),
    ],
)
def test_a_server_that_answers_oddly_is_told_apart(
    status: int, kind: str, body: bytes, mail_proxy: CommandLine
) -> None:
    with answering(status, kind, body) as port:
        result = mail_proxy("--url", f"http://127.0.0.1:{port}", "--token", "hush", "tenants", "list")
    assert result.exit_code in (1, 6), result.output
    assert "Traceback" not in result.output
    assert "hush" not in result.output
    assert isinstance(result.exception, SystemExit)


@pytest.mark.bad_input("B38")
def test_a_server_without_tls_is_unreachable_over_https(mail_proxy: CommandLine) -> None:
    with answering(200, "application/json", b"{}") as port:
        result = mail_proxy("--url", f"https://127.0.0.1:{port}", "stats")
    assert result.exit_code == 6, result.output
    assert f"https://127.0.0.1:{port}" in result.stderr


@pytest.mark.bad_input("B39")
def test_a_database_of_a_newer_release_is_left_alone(first: Instance, acme: CommandLine) -> None:
    with contextlib.closing(sqlite3.connect(first.database_file)) as connection, connection:
        connection.execute("INSERT INTO schema_migration (version, name) VALUES (9999, 'tomorrow')")
    result = acme("first", "tenants", "list")
    assert result.exit_code not in (0, 1)
    assert "newer" in result.stderr


@pytest.mark.bad_input("B39")
def test_a_database_that_is_gone_is_named(first: Instance, acme: CommandLine) -> None:
    for path in Path(first.directory).glob(f"{first.database_file.name}*"):
        if path.is_file() and not path.name.endswith(".key"):
            path.unlink()
    result = acme("first", "tenants", "show", "acme")
    assert result.exit_code in (3, 6, 78), result.output
    assert "Traceback" not in result.output
