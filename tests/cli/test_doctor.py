"""doctor: every part of an installation, working and broken."""

import asyncio
import json
from pathlib import Path
from typing import Any

from mailproxy.cli.home import Instance
from mailproxy.keyfile import key_path
from tests.cli.conftest import CommandLine
from tests.support.smtp import Sink
from tests.support.tenant import Endpoint, Manners
from tests.support.tls import Authority


async def _doctor(line: CommandLine, *words: object) -> tuple[int, dict[str, Any], str]:
    """The exit code, the checks by name, and all that was printed by this and by the form for people."""
    told = await asyncio.to_thread(line, "doctor", "first", "--json", *words)
    shown = await asyncio.to_thread(line, "doctor", "first", *words)
    assert shown.exit_code == told.exit_code
    checks = json.loads(told.stdout)["checks"]
    return told.exit_code, {one["name"]: one for one in checks}, told.output + shown.output


def _account(line: CommandLine, port: int, *options: object) -> None:
    line.ok("first", "acme", "accounts", "delete", "main", "-f")
    words = ["-h", "127.0.0.1", "-p", port, "-u", "ann", "--password-stdin", *options]
    line.ok("first", "acme", "accounts", "add", "main", *words, input="hush-hush\n")


async def test_a_sound_installation_is_called_so(acme: CommandLine, tmp_path: Path) -> None:
    authority = Authority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    tls = authority.server_context(tmp_path)
    endpoint = Endpoint(tmp_path / "calls.jsonl")
    async with (
        Sink(tmp_path / "log.jsonl", tls=tls, user="ann", password="hush-hush") as sink,
        endpoint,
    ):
        await asyncio.to_thread(_account, acme, sink.port, "--tls", "--tls-ca", tmp_path / "ca.pem")
        base = ["--base-url", f"http://127.0.0.1:{endpoint.port}", "--auth-token-file", "-"]
        await asyncio.to_thread(acme.ok, "first", "tenants", "update", "acme", *base, input="token-to-hide\n")
        code, checks, shown = await _doctor(acme)
    assert code == 0, shown
    assert checks.pop("workers")["health"] == "warn", "this instance does not run"
    assert {one["health"] for one in checks.values()} == {"ok"}
    assert "logged in as ann" in checks["account acme/main"]["text"]
    assert "TLSv1" in checks["account acme/main"]["text"]
    assert [call.items for call in endpoint.calls()] == [(), ()], "an empty call disturbs nobody"
    assert "hush-hush" not in shown
    assert "token-to-hide" not in shown


async def test_what_fails_is_named_with_its_remedy_and_without_secrets(
    acme: CommandLine, tmp_path: Path
) -> None:
    replies = {"auth": "535 5.7.8 not with the password hush-hush"}
    endpoint = Endpoint(tmp_path / "calls.jsonl", [Manners(status=404)])
    async with Sink(tmp_path / "log.jsonl", user="ann", password="x", replies=replies) as sink, endpoint:
        await asyncio.to_thread(_account, acme, sink.port)
        base = ["--base-url", f"http://127.0.0.1:{endpoint.port}"]
        await asyncio.to_thread(acme.ok, "first", "tenants", "update", "acme", *base)
        code, checks, shown = await _doctor(acme)
    assert code == 1
    assert checks["account acme/main"]["health"] == "fail"
    assert checks["account acme/main"]["remedy"].endswith("--user USER --password-stdin")
    assert checks["reports acme"]["text"] == "answers 404"
    assert "hush-hush" not in shown
    assert "fail  account acme/main: " in shown


async def test_a_server_that_says_nothing_is_not_waited_for(acme: CommandLine, tmp_path: Path) -> None:
    async with Sink(tmp_path / "log.jsonl", hang="connect") as sink:
        await asyncio.to_thread(_account, acme, sink.port)
        code, checks, _ = await _doctor(acme, "--timeout", "0.2")
        assert code == 1
        assert checks["account acme/main"]["health"] == "fail"
        code, checks, _ = await _doctor(acme, "--within", "0.2")
        assert code == 0
        assert "no time was left" in checks["account acme/main"]["text"]
        _, checks, _ = await _doctor(acme, "--offline")
        assert "account acme/main" not in checks


def test_a_missing_and_a_wrong_key_are_told_apart(first: Instance, acme: CommandLine) -> None:
    path = key_path(first.settings())
    assert path is not None
    kept = path.read_text()
    path.unlink()
    missing = acme("doctor", "first")
    assert missing.exit_code == 1
    assert "is missing" in missing.output
    assert not path.exists(), "the doctor makes no key"
    path.touch(mode=0o600)
    path.write_text("A" * 43 + "=\n")
    wrong = acme("doctor", "first")
    assert wrong.exit_code == 1
    assert "does not fit this database" in wrong.output
    path.write_text(kept)
    assert acme("doctor", "first", "--offline").exit_code == 0


def test_the_environments_server_is_examined_when_it_names_a_database(
    mail_proxy: CommandLine, tmp_path: Path
) -> None:
    mail_proxy.environ |= {"GMP_DB_PATH": str(tmp_path / "mail.db"), "GMP_API_TOKEN": "t"}
    absent = mail_proxy("doctor")
    assert absent.exit_code == 1
    assert "does not exist" in absent.output
    (tmp_path / "mail.db").touch(mode=0o600)
    empty = mail_proxy("doctor")
    assert empty.exit_code == 1
    assert "-> mail-proxy db migrate" in empty.output
    mail_proxy.ok("db", "migrate")
    assert "key: " in mail_proxy("doctor").output


def test_an_instance_that_is_not_there_cannot_be_examined(mail_proxy: CommandLine) -> None:
    assert mail_proxy("doctor", "nowhere").exit_code == 3
