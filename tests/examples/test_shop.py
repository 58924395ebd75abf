"""The example application against a real server: it mails, hears, and serves files."""

import email
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from mailproxy import webhooks
from mailproxy.client import MailProxyClient
from tests.process.peers import SmtpServer
from tests.process.service import ROOT, until

SHOP = [sys.executable, "docs/examples/shop.py"]
TOKEN = "what-the-shop-expects"


@dataclass
class Shop:
    environ: dict[str, str]
    url: str
    secret: str

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [*SHOP, *words],
            env=self.environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def invoices(self) -> dict[str, list[str]]:
        rows = (line.split("\t") for line in self.run("list").splitlines())
        return {number: rest for number, *rest in rows}


@pytest.fixture
def shop(admin: MailProxyClient, key: str, tmp_path: Path) -> Iterator[Shop]:
    made = admin.tenants.new_webhook_secret("acme", keep_previous=0)
    assert made.webhook_secret is not None
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "GMP_URL": admin.url,
        "GMP_API_TOKEN": key,
        "SHOP_FOLDER": str(tmp_path),
        "SHOP_PORT": "0",
        "SHOP_WEBHOOK_SECRETS": f"{webhooks.new_secret()} {made.webhook_secret}",
        "SHOP_FILES_TOKEN": TOKEN,
    }
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*SHOP, "serve"], env=environ, cwd=ROOT, stdout=pipe, stderr=pipe, text=True
    ) as server:
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{int(server.stdout.readline().split()[-1])}"
            admin.tenants.update(
                "acme", client_base_url=url, client_auth={"method": "bearer", "token": TOKEN}
            )
            yield Shop(environ, url, made.webhook_secret)
        finally:
            server.kill()


def states(shop: Shop, wanted: dict[str, str]) -> Callable[[], bool]:
    return lambda: {number: row[0] for number, row in shop.invoices().items()} == wanted


def test_the_shop_hears_what_became_of_its_invoices(shop: Shop) -> None:
    shop.run("mail", "1", "ann@example.org")
    shop.run("mail", "2", "refuse550@example.org")
    assert "not queued: to[0]: 'nobody'" in shop.run("mail", "3", "nobody")
    until(states(shop, {"1": "sent", "2": "error", "3": "error"}), so=lambda: str(shop.invoices()), every=0.1)
    assert "550" in shop.invoices()["2"][1]
    shop.run("mail", "1", "ann@example.org")
    assert shop.invoices()["1"][0] == "sent", "it is one message, which is not sent again"


def test_the_shop_believes_nobody_else(shop: Shop) -> None:
    shop.run("mail", "4", "ann@example.org")
    until(states(shop, {"4": "sent"}), every=0.1)
    item = {"id": "invoice-4", "event_id": 10**9, "event_type": "error", "error": "forged"}
    body = json.dumps({"delivery_report": [item]}).encode()
    forged = webhooks.sign(body, id="c1", at=time.time(), secrets=[webhooks.new_secret()])
    late = webhooks.sign(body, id="c1", at=time.time() - 3600, secrets=[shop.secret])
    for headers in ({}, forged, late):
        assert httpx.post(f"{shop.url}/mail-proxy/sync", content=body, headers=headers).status_code == 401
    assert shop.invoices()["4"][0] == "sent"


def test_the_shop_serves_its_files_to_whom_it_knows(shop: Shop, smtp: SmtpServer) -> None:
    shop.run("mail", "5", "ann@example.org")
    until(states(shop, {"5": "sent"}), so=lambda: str(shop.invoices()), every=0.1)
    (mail,) = (email.message_from_bytes(one) for one in smtp.contents("invoice-5"))
    (attached,) = (part for part in mail.walk() if part.get_filename())
    assert (attached.get_filename(), attached.get_payload(decode=True)) == ("invoice-5.txt", b"Invoice 5\n")

    def fetch(path: str, token: str = TOKEN) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        wanted = {"storage_path": path}
        return httpx.post(f"{shop.url}/mail-proxy/attachments", json=wanted, headers=headers)

    assert fetch("invoice-5.txt").content == b"Invoice 5\n"
    assert fetch("invoice-5.txt", "wrong").status_code == 401
    assert fetch("../shop.db").status_code == 404
    assert fetch("none").status_code == 404
