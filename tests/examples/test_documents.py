"""The code of docs/client.md, run as it stands there."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from mailproxy import webhooks
from mailproxy.client import MailProxyClient, faces
from mailproxy.client.methods import Call

PAGE = Path(__file__).parents[2] / "docs" / "client.md"


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
