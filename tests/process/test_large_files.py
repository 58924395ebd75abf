"""Large attachments through a whole service: a link in the mail, the file behind it, and both their ends."""

import base64
import email
import email.policy
import os
import re
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.process.conftest import database
from tests.process.peers import SmtpServer, TenantEndpoint, smtp_server
from tests.process.service import Service, running, until

CONTENT = os.urandom(2 * 1024 * 1024)
PUBLIC = "https://files.example.com/mail"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("large")


@pytest.fixture(scope="module")
def sink(folder: Path) -> Iterator[SmtpServer]:
    with smtp_server(folder / "log", keep=folder) as server:
        yield server


@pytest.fixture(scope="module")
def service(folder: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    settings = {
        "GMP_LARGE_FILE_BASE_DIR": str(folder / "files"),
        "GMP_PUBLIC_BASE_URL": PUBLIC,
        "GMP_MAX_RETRIES": "200",
    }
    with database("sqlite", folder, request) as environ, running(folder, environ, **settings) as node:
        yield node


def _post(service: Service, endpoint: TenantEndpoint, sink: SmtpServer, tenant: str, **config: Any) -> str:
    """A message with 2 MB to attach, of a new tenant for whom more than 1 MB is large."""
    service.add_tenant(tenant, endpoint.url)
    service.add_account(tenant, "main", sink.port)
    wanted = {"enabled": True, "max_size_mb": 1, "action": "rewrite", **config}
    answer = service.client.put(f"/tenant/{tenant}", json={"large_file_config": wanted})
    assert answer.status_code == 200, answer.text
    part = {"filename": "Größe.bin", "storage_path": f"base64:{base64.b64encode(CONTENT).decode()}"}
    message = {
        "id": f"{tenant}-1",
        "tenant_id": tenant,
        "account_id": "main",
        "from": "a@example.com",
        "to": "b@example.com",
        "subject": "Large",
        "body": "See below.",
        "attachments": [part],
    }
    added = service.client.post("/commands/add-messages", json={"messages": [message]})
    assert added.json()["queued"] == 1, added.text
    return f"{tenant}-1"


def _path(sink: SmtpServer, id_: str) -> str:
    """Of the link in the mail that arrived, which holds nothing else."""
    (content,) = sink.contents(id_)
    mail = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    assert list(mail.iter_attachments()) == []
    found = re.search(rf"{PUBLIC}/download/\S+", str(mail.get_content()))
    assert found is not None
    return urlsplit(found[0]).path.removeprefix("/mail")


def test_a_message_waits_for_its_storage_and_its_link_opens_what_was_attached(
    service: Service, endpoint: TenantEndpoint, sink: SmtpServer, folder: Path
) -> None:
    (folder / "files").mkdir(exist_ok=True)
    (folder / "files/large").write_text("in the way")
    id_ = _post(service, endpoint, sink, "large", storage_url=f"file://{folder}/files/large")
    until(lambda: endpoint.told("large"), so=service.last_words)
    told = endpoint.told("large")[0]
    assert (told.kind, sink.of(id_)) == ("deferred", [])
    (folder / "files/large").unlink()
    until(lambda: sink.of(id_), so=service.last_words)
    path = _path(sink, id_)
    answer = service.client.get(path, headers={"X-API-Token": ""})
    assert (answer.status_code, answer.content) == (200, CONTENT)
    part = service.client.get(path, headers={"Range": "bytes=-100"})
    assert (part.status_code, part.content) == (206, CONTENT[-100:])
    assert service.client.get(path.replace("/download/1", "/download/2")).status_code == 403


def test_a_link_ends_with_its_time(
    service: Service, endpoint: TenantEndpoint, sink: SmtpServer, folder: Path
) -> None:
    url = f"file://{folder}/files/short"
    id_ = _post(service, endpoint, sink, "short", storage_url=url, file_ttl_days=3 / 86400)
    until(lambda: sink.of(id_), so=service.last_words)
    path = _path(sink, id_)
    until(lambda: service.client.get(path).status_code == 410, so=service.last_words)
