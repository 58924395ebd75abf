"""From the API to the report: a message goes out, comes back by IMAP, and its tenant is told."""

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import DIALECTS
from tests.process.conftest import add_tenant, database
from tests.process.peers import smtp_server, tenant_endpoint
from tests.process.service import running, until
from tests.support.dsn import dsn
from tests.support.imap import Imap

PROOF = re.compile(rb"^X-Genro-Mail-Proof: (\S+)\r$", re.MULTILINE)


class Mailbox:
    """An IMAP server in a thread of its own."""

    def __init__(self, imap: Imap, loop: asyncio.AbstractEventLoop) -> None:
        self.imap = imap
        self._loop = loop

    def do(self, deed: str, *arguments: object) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (getattr(self.imap, deed)(*arguments), done.set()))
        assert done.wait(10)


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    up, over = threading.Event(), asyncio.Event()
    found: list[Mailbox] = []

    async def serve() -> None:
        async with Imap() as imap:
            found.append(Mailbox(imap, asyncio.get_running_loop()))
            up.set()
            await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert up.wait(10)
    try:
        yield found[0]
    finally:
        found[0]._loop.call_soon_threadsafe(over.set)
        thread.join()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_message_that_comes_back_is_reported_once(
    dialect: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "service"
    folder.mkdir()
    with (
        smtp_server(tmp_path / "smtp.log", keep=tmp_path) as smtp,
        tenant_endpoint(tmp_path / "endpoint.log") as endpoint,
        mailbox() as box,
        database(dialect, folder, request) as environ,
        running(folder, environ, GMP_LEASE_SECONDS="3") as service,
    ):
        tenant = add_tenant(service, smtp, endpoint)
        bounce = {
            "enabled": True,
            "imap_host": "127.0.0.1",
            "imap_port": box.imap.port,
            "imap_user": "bounces",
            "imap_password": "secret",
            "imap_ssl": False,
            "poll_interval": 1,
            "processed": "seen",
        }
        service.call("PUT", "/instance/bounce", bounce)
        service.call("POST", "/instance/bounce/reload")
        recipients = {
            "hard": ["a@example.com"],
            "soft": ["b@example.com"],
            "two": ["c@example.com", "d@example.com"],
        }
        service.post(
            {
                "id": f"{tenant}-{name}",
                "tenant_id": tenant,
                "account_id": "main",
                "from": "alice@example.org",
                "to": to,
                "subject": name,
                "body": "x",
            }
            for name, to in recipients.items()
        )
        until(lambda: len(smtp.times(tenant)) == 3)

        def comes_back(name: str, *failures: tuple[str, str]) -> None:
            id_ = f"{tenant}-{name}"
            (content,) = smtp.contents(id_)
            (proof,) = PROOF.findall(content)
            box.do("deliver", dsn(*failures, client_id=id_, proof=proof.decode()))

        comes_back("hard", ("a@example.com", "5.1.1"))
        box.do(
            "deliver",
            b"Content-Type: multipart/report; boundary=x\r\n\r\n" + b"--x\r\n" * 30_000 + bytes(range(256)),
        )
        comes_back("soft", ("b@example.com", "4.2.2"))
        comes_back("two", ("d@example.com", "5.7.1"))
        wanted = {
            (f"{tenant}-hard", "hard", "511"),
            (f"{tenant}-soft", "soft", "422"),
            (f"{tenant}-two", "hard", "571"),
        }

        def told() -> list[tuple[str, str, str]]:
            bounces = [one.item for one in endpoint.told(tenant) if one.kind == "bounce"]
            return sorted((item["id"], item["bounce_type"], item["bounce_code"]) for item in bounces)

        until(lambda: set(told()) == wanted)
        shown = service.messages(tenant)
        two = shown[f"{tenant}-two"]
        assert (two["status"], two["bounce_type"]) == ("sent", "hard")
        assert [one["address"] for one in two["bounced_recipients"]] == ["d@example.com"]
        assert two["sent_ts"] <= two["bounce_ts"]

        box.do("renumber")
        service.kill("imap")
        comes_back("two", ("c@example.com", "5.1.1"))
        until(lambda: len(told()) == 4)
        assert sorted(told()) == sorted([*wanted, (f"{tenant}-two", "hard", "511")])
        health = service.call("GET", "/instance/bounce")["health"]
        assert health["quarantined"] == 0
