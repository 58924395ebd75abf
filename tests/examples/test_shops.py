"""The example applications in web frameworks against a real server: each mails, hears, and believes nobody else."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from mailproxy import webhooks
from mailproxy.client import MailProxyClient
from tests.process.peers import SmtpServer
from tests.process.service import ROOT, until

EXAMPLES = ROOT / "docs" / "examples"
EXPRESS = EXAMPLES / "express"
PYTHON = [sys.executable, "-m"]
DJANGO = "--settings=django_shop.settings"
COMMANDS: Mapping[str, Sequence[Sequence[str]]] = {
    "flask": [[*PYTHON, "flask", "--app", "flask_shop", "run", "--port", "{port}"]],
    "fastapi": [[*PYTHON, "uvicorn", "fastapi_shop:app", "--port", "{port}"]],
    "django": [
        [*PYTHON, "django", "migrate", "--run-syncdb", DJANGO],
        [*PYTHON, "django", "runserver", "--noreload", "{port}", DJANGO],
    ],
    "express": [["node", "express/shop.js"]],
}


@dataclass
class Shop:
    name: str
    client: httpx.Client
    secret: str

    def order(self, number: str, email: str) -> httpx.Response:
        return self.client.post("/orders", json={"number": number, "email": email})

    def state(self, number: str) -> str:
        return str(self.client.get(f"/orders/{number}").json()["state"])

    def until(self, number: str, state: str) -> None:
        until(lambda: self.state(number) == state, 60.0, so=lambda: self.state(number), every=0.05)


@pytest.fixture(params=COMMANDS)
def shop(
    request: pytest.FixtureRequest, admin: MailProxyClient, smtp: SmtpServer, tmp_path: Path
) -> Iterator[Shop]:
    name = request.param
    if name == "express" and not (shutil.which("node") and (EXPRESS / "node_modules").is_dir()):
        pytest.skip("needs node >= 20 and `npm ci --prefix docs/examples/express`")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    made = admin.tenants.add(name, webhook_secret=webhooks.new_secret())
    secret = admin.tenants.new_webhook_secret(name).webhook_secret
    assert made.api_key
    assert secret
    admin.accounts.add("main", "127.0.0.1", smtp.port, tenant_id=name, use_tls=False)
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(EXAMPLES)]),
        "GMP_URL": admin.url,
        "GMP_API_TOKEN": made.api_key,
        "SHOP_WEBHOOK_SECRETS": f"{webhooks.new_secret()} {secret}",
        "SHOP_DATABASE": str(tmp_path / "shop.db"),
        "SHOP_JOURNAL": str(tmp_path / "shop.jsonl"),
        "SHOP_PORT": str(port),
    }
    *preparations, command = [[word.format(port=port) for word in words] for words in COMMANDS[name]]
    for words in preparations:
        subprocess.run(words, env=environ, cwd=EXAMPLES, check=True, capture_output=True)
    log = tmp_path / "log"
    with (
        log.open("wb") as output,
        httpx.Client(base_url=url, timeout=20.0, trust_env=False) as client,
        subprocess.Popen(command, env=environ, cwd=EXAMPLES, stdout=output, stderr=output) as server,
    ):
        try:
            until(lambda: _answers(client), 60.0, so=log.read_text, every=0.05)
            admin.tenants.update(name, client_base_url=url)
            yield Shop(name, client, secret)
        finally:
            server.kill()


def _answers(client: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return client.get("/orders/none").status_code == 404
    return False


def test_a_shop_mails_and_hears_and_believes_nobody_else(
    shop: Shop, admin: MailProxyClient, smtp: SmtpServer
) -> None:
    assert shop.order("1", "ann@example.org").status_code == 202
    assert shop.order("2", "refuse550@example.org").status_code == 202
    refused = shop.order("3", "nobody")
    assert refused.status_code == 422
    assert "'nobody'" in refused.text
    shop.until("1", "sent")
    shop.until("2", "error")
    shop.until("3", "error")

    assert shop.order("1", "ann@example.org").status_code == 202
    assert shop.state("1") == "sent"
    sent = admin.messages.get("order-1", shop.name)
    assert sent.was_sent
    events = admin.messages.events("order-1", shop.name)
    assert [event.event_type for event in events] == ["sent"], "ordered twice, it is one message"

    item = {"id": "order-1", "event_id": 10**9, "event_type": "error", "error": "forged"}
    body = json.dumps({"delivery_report": [item]}).encode()
    forged = webhooks.sign(body, id="c1", at=time.time(), secrets=[webhooks.new_secret()])
    late = webhooks.sign(body, id="c1", at=time.time() - 3600, secrets=[shop.secret])
    for headers in ({}, forged, late):
        given = {"Content-Type": "application/json", **headers}
        assert shop.client.post("/mail-proxy/sync", content=body, headers=given).status_code == 401
    assert shop.state("1") == "sent"
