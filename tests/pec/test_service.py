"""From the API to the report: certified mail goes out, its receipts come in by IMAP, and its tenant is told."""

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.process.conftest import add_tenant, database
from tests.process.peers import smtp_server, tenant_endpoint
from tests.process.service import running, until
from tests.support.imap import Imap
from tests.support.pec import MAILBOX, About, Provider

BOB = "bob@pec.example.org"
MESSAGE_ID = re.compile(rb"^Message-ID: (<[^>]+>)\r$", re.MULTILINE)


class Mailbox:
    """An IMAP server in a thread of its own."""

    def __init__(self, imap: Imap, loop: asyncio.AbstractEventLoop) -> None:
        self.imap = imap
        self.loop = loop

    def deliver(self, octets: bytes) -> None:
        done = threading.Event()
        self.loop.call_soon_threadsafe(lambda: (self.imap.deliver(octets), done.set()))
        assert done.wait(10)


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    up, over = threading.Event(), asyncio.Event()
    found: list[Mailbox] = []

    async def serve() -> None:
        async with Imap(login=(MAILBOX, "secret")) as imap:
            found.append(Mailbox(imap, asyncio.get_running_loop()))
            up.set()
            await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert up.wait(10)
    try:
        yield found[0]
    finally:
        found[0].loop.call_soon_threadsafe(over.set)
        thread.join()


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_receipts_are_reported_and_given_back_as_they_came(
    dialect: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "service"
    folder.mkdir()
    provider, forger = Provider(), Provider()
    issuers = tmp_path / "issuers.pem"
    issuers.write_text(provider.issuer)
    settings = {"GMP_LEASE_SECONDS": "3", "GMP_PEC_ISSUERS": str(issuers), "GMP_PEC_ACCEPTANCE_TIMEOUT": "2"}
    with (
        smtp_server(tmp_path / "smtp.log", keep=tmp_path) as smtp,
        tenant_endpoint(tmp_path / "endpoint.log") as endpoint,
        mailbox() as box,
        database(dialect, folder, request) as environ,
        running(folder, environ, **settings, GMP_BOUNCE_POLL_INTERVAL="1") as service,
    ):
        tenant = add_tenant(service, smtp, endpoint)
        service.add_account(
            tenant,
            "pec",
            smtp.port,
            is_pec_account=True,
            pec_address=MAILBOX,
            imap_host="127.0.0.1",
            imap_port=box.imap.port,
            imap_user=MAILBOX,
            imap_password="secret",
            imap_ssl=False,
        )
        names = ("delivered", "failed", "forgotten")
        service.post(
            {
                "id": f"{tenant}-{name}",
                "tenant_id": tenant,
                "account_id": "pec",
                "from": MAILBOX,
                "to": [BOB],
                "subject": name,
                "body": "x",
            }
            for name in names
        )
        until(lambda: len(smtp.times(tenant)) == len(names))

        def about(name: str, **more: str) -> About:
            (content,) = smtp.contents(f"{tenant}-{name}")
            return About(MESSAGE_ID.findall(content)[0].decode(), (BOB,), **more)

        def told() -> set[tuple[str, str]]:
            items = [one.item for one in endpoint.told(tenant)]
            return {
                (item["id"].rpartition("-")[2], item["pec_event"]) for item in items if "pec_event" in item
            }

        accepted = provider.receipt("accettazione", about("delivered"))
        delivered = provider.receipt("avvenuta-consegna", about("delivered", delivered_to=BOB))
        forged = forger.receipt("avvenuta-consegna", about("failed", delivered_to=BOB))
        failed = provider.receipt("errore-consegna", about("failed", delivered_to=BOB, error="no-dest"))
        for receipt in (delivered, forged, accepted, failed):
            box.deliver(receipt)
        wanted = {
            ("delivered", "pec_delivery"),
            ("delivered", "pec_acceptance"),
            ("failed", "pec_error"),
            ("forgotten", "pec_timeout"),
        }
        until(lambda: told() >= wanted, 45.0)
        shown = service.messages(tenant)
        statuses = {name: shown[f"{tenant}-{name}"]["pec_status"] for name in names}
        assert statuses == {"delivered": "delivered", "failed": "failed", "forgotten": "timed_out"}
        path = f"/messages/{tenant}-delivered/receipts"
        kept = service.call("GET", path, tenant_id=tenant)["receipts"]
        assert [(one["n"], one["type"], one["signature"]) for one in kept] == [
            (1, "avvenuta-consegna", "verified"),
            (2, "accettazione", "verified"),
        ]
        for number, receipt in ((1, delivered), (2, accepted)):
            answer = service.client.get(f"{path}/{number}", params={"tenant_id": tenant})
            assert (answer.content, answer.headers["content-type"]) == (receipt, "message/rfc822")
        outcomes = service.call("GET", f"/messages/{tenant}-failed/receipts", tenant_id=tenant)["receipts"]
        assert [(one["signature"], one["outcome"]) for one in outcomes] == [
            ("unverified", "unproven"),
            ("verified", "applied"),
        ]
        stranger = service.client.get(path, params={"tenant_id": "nobody"})
        assert stranger.status_code == 404
        assert len(box.imap.inbox.mails) == 4
