"""F8: a reader that is killed anywhere repeats no effect and leaves no mail in the mailbox that was read."""

import asyncio
import sys

import pytest

from mailproxy.model import EventType
from tests.imap.post import Post
from tests.support.dsn import dsn


@pytest.mark.parametrize("step", ["take", "taken", "dispose"])
async def test_a_killed_reader_leaves_each_mail_to_have_its_effect_once(
    post: Post, environ: dict[str, str], step: str
) -> None:
    token = await post.sent("m1", "bob@example.com")
    post.imap.deliver(dsn(("bob@example.com", "5.1.1"), proof=token))
    doomed = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.imap.breakpoint", step, env=environ
    )
    async with asyncio.timeout(30):
        assert await doomed.wait() == -9
    assert await post.events("m1") == ([] if step == "take" else [EventType.BOUNCE])
    async with post.reader():
        await post.until_events("m1", EventType.BOUNCE)
        await post.until(lambda: not post.imap.inbox.mails)
    assert await post.events("m1") == [EventType.BOUNCE]
    assert await post.store.inbound.failing() == 0
