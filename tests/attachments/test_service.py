"""Attachments through the whole service, posted over HTTP: every mode, and what a large one costs its sender."""

import asyncio
import base64
import email
import email.policy
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mailproxy.demo.sink import read_log
from tests.attachments.server import Files
from tests.conftest import KEY
from tests.process.service import Service, running
from tests.support.smtp import sink_process
from tests.support.tenant import Manners

LARGE = 50 * 10**6
INLINE = 30 * 10**6
MIB = 1 << 20


@pytest.fixture
async def service(tmp_path: Path, files: Files) -> AsyncIterator[Service]:
    """With a tenant whose server has files, and an SMTP server that takes more than 64 MB."""
    (tmp_path / "files").mkdir()
    environ = {"GMP_DB_PATH": str(tmp_path / "mail.db"), "MAIL_PROXY_ENCRYPTION_KEY": KEY}
    more = {"GMP_ATTACHMENT_BASE_DIR": str(tmp_path / "files"), "GMP_FETCH_ALLOW": "127.0.0.1"}
    async with sink_process(tmp_path / "log", keep=tmp_path, size="100000000") as port:
        with running(tmp_path / "service", environ, **more, GMP_MAX_SENDERS="1") as one:
            one.add_tenant("acme", files.url)
            auth = {"method": "basic", "user": "proxy", "password": "secret"}
            one.call("PUT", "/tenant/acme", {"client_auth": auth})
            one.add_account("acme", "main", port)
            yield one


async def sent(service: Service, id_: str, *parts: dict[str, Any]) -> dict[str, Any]:
    """The message's record once it has come to its end."""
    letter = {
        "id": id_,
        "tenant_id": "acme",
        "account_id": "main",
        "from": "a@example.org",
        "to": "b@example.com",
        "subject": id_,
        "body": "here they are",
        "attachments": list(parts),
    }
    await asyncio.to_thread(service.post, [letter])
    return (await asyncio.to_thread(service.until_final, "acme", 90.0))[id_]


def content_of(folder: Path, id_: str) -> bytes:
    (delivery,) = (one for one in read_log(folder / "log") if one.id == id_)
    return (folder / f"{delivery.sha256}.eml").read_bytes()


def memory(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1]) * 1024


async def test_every_mode_arrives_and_fifty_megabytes_cost_little(
    service: Service, files: Files, tmp_path: Path
) -> None:
    (tmp_path / "files" / "a.bin").write_bytes(b"from a file")
    files.serve("/mail-proxy/attachments", Manners(body=b"from the endpoint"))
    url = files.serve("/c.bin", Manners(body=b"from a url"))
    parts = [
        {"filename": "a.bin", "storage_path": "a.bin", "fetch_mode": "filesystem"},
        {"filename": "b.bin", "storage_path": "doc:1"},
        {"filename": "c.bin", "storage_path": url},
        {"filename": "d.bin", "storage_path": "base64:aW5saW5l"},
    ]
    assert (await sent(service, "small", *parts))["status"] == "sent"
    message = email.message_from_bytes(content_of(tmp_path, "small"), policy=email.policy.default)
    assert [part.get_content() for part in message.iter_attachments()] == [  # type: ignore[attr-defined]
        b"from a file",
        b"from the endpoint",
        b"from a url",
        b"inline",
    ]
    logins = {asked.path: asked.headers.get("authorization", "")[:5] for asked in files.requests}
    assert (logins["/mail-proxy/attachments"], logins["/c.bin"]) == ("Basic", "")

    (sender,) = service.pids("sender")
    content = bytes(range(256)) * (LARGE // 256)
    files.serve("/mail-proxy/attachments", Manners(body=content))
    Path(f"/proc/{sender}/clear_refs").write_text("5")
    before = memory(sender, "VmRSS")
    found = await sent(service, "large", {"filename": "large.bin", "storage_path": "doc:large"})
    assert found["status"] == "sent", found
    extra = memory(sender, "VmHWM") - before
    assert extra < 64 * MIB, f"{extra / MIB:.1f} MiB"
    message = email.message_from_bytes(content_of(tmp_path, "large"), policy=email.policy.default)
    (part,) = message.iter_attachments()  # type: ignore[attr-defined]
    assert hashlib.sha256(part.get_content()).digest() == hashlib.sha256(content).digest()

    before = memory(sender, "VmRSS")
    Path(f"/proc/{sender}/clear_refs").write_text("5")
    inline = {"filename": "i.bin", "storage_path": base64.b64encode(content[:INLINE]).decode()}
    assert (await sent(service, "inline", inline | {"fetch_mode": "base64"}))["status"] == "sent"
    assert memory(sender, "VmHWM") - before < INLINE
    message = email.message_from_bytes(content_of(tmp_path, "inline"), policy=email.policy.default)
    (part,) = message.iter_attachments()  # type: ignore[attr-defined]
    assert part.get_content() == content[:INLINE]

    gone = await sent(service, "gone", {"filename": "x.bin", "storage_path": f"{files.url}/none"})
    assert (gone["status"], gone["error"]) == (
        "error",
        "Attachment fetch failed for x.bin: attachment_gone: the server answered 404",
    )
    metrics = (await asyncio.to_thread(service.client.get, "/metrics")).text
    assert 'gmp_attachment_bytes_total{mode="http_url"} 10.0' in metrics
