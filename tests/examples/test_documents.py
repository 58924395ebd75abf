"""The code of the pages, run as it stands there."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mailproxy import webhooks
from mailproxy.cli.main import cli
from mailproxy.client import MailProxyClient, faces
from mailproxy.client.methods import Call

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGE = DOCS / "client.md"
GETTING_STARTED = DOCS / "getting-started.md"


def test_the_code_in_the_clients_page_does_what_it_says(
    admin: MailProxyClient, key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GMP_URL", admin.url)
    monkeypatch.setenv("GMP_API_TOKEN", key)
    page: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), page)
    page["proxy"].close()
    said = capsys.readouterr().out
    for expected in ("sent\n", "message_not_found ", "('invoice-4712', 'missing_to')"):
        assert expected in said

    body = json.dumps({"delivery_report": [{"id": "invoice-4711", "event_id": 7, "event_type": "sent"}]})
    headers = webhooks.sign(body.encode(), id="c1", at=time.time(), secrets=[page["secret"]])
    assert page["answer_to"](body.encode(), headers) == (200, b'{"ok": true}')
    assert page["answer_to"](body.encode() + b" ", headers) == (401, b"")
    assert capsys.readouterr().out == "7 invoice-4711 sent None\n"


def test_the_clients_page_names_every_call() -> None:
    text = PAGE.read_text()
    rows = dict(re.findall(r"^\| `(proxy[._a-z]*)` \| (.*) \|$", text, re.MULTILINE))
    with MailProxyClient("http://127.0.0.1:1") as proxy:
        groups = {
            name: getattr(proxy, name)
            for name, kind in vars(faces.MailProxyClient).items()
            if _is_group(kind)
        }
        assert rows.keys() == {"proxy", *(f"proxy.{name}" for name in groups)}
        for name, group in {"": proxy, **groups}.items():
            calls = {one for one, call in vars(type(group)).items() if isinstance(call, Call)}
            assert calls <= set(re.findall(r"\w+", rows[f"proxy.{name}".rstrip(".")]))


def _is_group(member: object) -> bool:
    return isinstance(member, property) and member is not faces.MailProxyClient.connection


def blocks(page: Path, *kinds: str) -> list[str]:
    """The page's code, Python as a command of the shell."""
    found = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [
        f"python - <<'END'\n{code}END\n" if kind == "python" else code
        for kind, code in found
        if kind in kinds
    ]


def run(script: str, folder: Path, **environ: str) -> str:
    """What a shell says to whom `python` and `mail-proxy` are those of the tests."""
    commands = folder / "bin"
    commands.mkdir()
    for name, words in (("python", ""), ("mail-proxy", "-m mailproxy.cli ")):
        (commands / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words}"$@"\n')
        (commands / name).chmod(0o700)
    path = f"{commands}:/usr/bin:/bin"
    environ |= {"PATH": path, "HOME": str(folder), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        ["bash", "-c", f"set -e\n{script}"],
        env=environ,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_calls_of_getting_started_do_what_they_say(
    admin: MailProxyClient, key: str, tmp_path: Path
) -> None:
    calls = [
        code for code in blocks(GETTING_STARTED, "sh", "python") if "curl" in code or "python - <<" in code
    ]
    calls = [re.sub(r"^export KEY=.*$", "", code, flags=re.MULTILINE) for code in calls[:2]]
    said = run(
        "".join(calls).replace("http://localhost:8000", admin.url).replace("invoice-", "first-"),
        tmp_path,
        KEY=key,
    )
    assert '"queued":1' in said
    assert '"events":[' in said
    assert "first-4712 is sent" in said


@pytest.mark.parametrize("page", [GETTING_STARTED, ROOT / "README.md"], ids=lambda page: page.name)
def test_the_commands_of_a_page_exist_with_their_options(page: Path) -> None:
    lines = re.findall(r"(?:^|\(|\|\s)(mail-proxy .*)", "\n".join(blocks(page, "sh")), re.MULTILINE)
    assert len(lines) >= 7
    for line in lines:
        words = shlex.split(re.split(r"[)|&>]", line)[0], comments=True)[1:]
        done = CliRunner().invoke(cli, [*words, "--help"])
        assert done.exit_code == 0, f"{line}: {done.output}"


@pytest.mark.skipif(
    "MAILPROXY_TEST_PAGES" not in os.environ, reason="MAILPROXY_TEST_PAGES=1 runs the whole page"
)
def test_the_whole_of_getting_started_does_what_it_says(tmp_path: Path) -> None:
    api, inbox = free_port(), free_port()
    *commands, end = blocks(GETTING_STARTED, "sh", "python")
    # Whatever happens, what the page starts is ended as the page ends it.
    script = "".join([f"finish() {{\n{end}}}\ntrap finish EXIT\n", *commands])
    script = script.replace("1025", str(inbox)).replace("8000", str(api))
    said = run(script.replace("start first -b", f"start first -b -h 127.0.0.1 -p {api}"), tmp_path)
    assert "invoice-4712 is sent" in said
    for subject in ("Hello", "Your invoice"):
        assert f"Subject: {subject}" in said
    assert not (tmp_path / ".mail-proxy" / "first").exists()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
