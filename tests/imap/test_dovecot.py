"""The same words spoken to a real Dovecot; opt-in, as it has to be installed: `make interop`."""

import asyncio
import imaplib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mailproxy.inbound import Disposal, Encryption, Mailbox
from mailproxy.reach import Reach
from workers.imap.session import connect

DOVECOT = shutil.which("dovecot")
OWNER = 1000
CONFIGURATION = """
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = no
mail_location = maildir:{folder}/mail
mail_uid = {owner}
mail_gid = {owner}
first_valid_uid = 100
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={owner} gid={owner} home={folder}/home
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"""
pytestmark = pytest.mark.skipif(
    DOVECOT is None or os.geteuid() != 0, reason="Dovecot is not installed, or this is not root: make interop"
)


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="dovecot-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for part in ("mail", "home"):
            (folder / part).mkdir()
            os.chown(folder / part, OWNER, OWNER)
        file = folder / "dovecot.conf"
        file.write_text(CONFIGURATION.format(folder=folder, owner=OWNER, port=number))
        process = subprocess.Popen([str(DOVECOT), "-F", "-c", str(file)])
        try:
            yield number
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def put(port: int, count: int) -> None:
    client = imaplib.IMAP4("127.0.0.1", port)
    client.login("bounces", "secret")
    for size in range(count):
        client.append("INBOX", "", "", b"Subject: x\r\n\r\n" + b"y" * 100_000 * size + b"\r\n")
    client.logout()


async def until_up(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def test_a_dovecot_is_read_emptied_and_waited_for(port: int) -> None:
    await until_up(port)
    await asyncio.to_thread(put, port, 3)
    box = Mailbox(
        "127.0.0.1", port, "bounces", "secret", "INBOX", Encryption.IF_OFFERED, 60.0, Disposal.DELETE
    )
    threads = ThreadPoolExecutor(4)
    session = await connect(box, Reach(), threads)
    assert await session.open_folder() > 0
    uids = await session.uids_after(0)
    sizes = await session.sizes(uids)
    assert [len(await session.mail(uid) or b"") for uid in uids] == [sizes[uid] for uid in uids]
    assert await session.mail(9999) is None
    await session.move(uids[:1], "Done & gelöscht")
    await session.mark_seen(uids[1:])
    await session.delete(uids[1:])
    assert await session.uids_after(0) == []
    idle = asyncio.create_task(session.idle(20))
    await asyncio.to_thread(put, port, 1)
    await idle
    assert len(await session.uids_after(0)) == 1
    await session.end()
    threads.shutdown()
