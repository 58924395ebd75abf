"""A mailbox's connection, whatever its end."""

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor

import pytest

from mailproxy.inbound import Disposal, Encryption, Mailbox
from mailproxy.reach import Reach
from tests.support.imap import Imap, Manners
from workers.imap.session import connect


async def test_a_farewell_that_is_cut_short_still_closes_the_connection() -> None:
    threads = ThreadPoolExecutor(1)
    async with Imap() as imap:
        imap.manners = Manners(deaf="LOGOUT")
        box = Mailbox(
            "127.0.0.1", imap.port, "bounces", "secret", "INBOX", Encryption.IF_OFFERED, 60.0, Disposal.DELETE
        )
        session = await connect(box, Reach(), threads)
        ending = asyncio.create_task(session.end())
        while "LOGOUT" not in imap.commands:
            await asyncio.sleep(0.01)
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        del session, ending
        gc.collect()  # what is left open fails the test
    threads.shutdown()
