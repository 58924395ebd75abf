"""What a mailbox is read for: each mail has its effect once, whatever the server and the network do."""

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from mailproxy.model import EventType
from tests.imap.post import PROMPT, Post
from tests.support.dsn import dsn
from tests.support.imap import Folder

BOUNCE = EventType.BOUNCE


async def test_a_bounce_is_applied_and_leaves_the_mailbox(post: Post) -> None:
    token = await post.sent("m1", "bob@example.com")
    post.imap.deliver(dsn(("bob@example.com", "5.1.1"), client_id="m1", proof=token))
    async with post.reader():
        await post.until_events("m1", BOUNCE)
        await post.until(lambda: not post.imap.inbox.mails)


async def test_mail_that_arrives_while_the_server_is_idle_is_read_at_once(post: Post) -> None:
    token = await post.sent("m1", "bob@example.com")
    await post.change(poll_interval=3600)
    async with post.reader():
        await post.until(lambda: "IDLE" in post.imap.commands)
        post.imap.deliver(dsn(("bob@example.com", "5.1.1"), proof=token))
        await post.until_events("m1", BOUNCE)
    # Nobody looks again for an hour; the change of settings above may be heard of once, after the reader began.
    assert post.imap.logins <= 2


@pytest.mark.parametrize("command", ["UID SEARCH", "UID FETCH", "UID STORE", "UID EXPUNGE", "IDLE"])
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_mail_that_a_server_tells_of_beside_an_answer_is_read_at_once(post: Post, command: str) -> None:
    await post.change(poll_interval=3600)
    for id_ in ("m1", "m2"):
        await post.sent(id_, "bob@example.com")
    post.imap.deliver(dsn(("bob@example.com", "5.1.1"), proof=post.token(post.numbers["m1"])))
    late = dsn(("bob@example.com", "5.1.1"), proof=post.token(post.numbers["m2"]))
    post.imap.manners.arrive[command] = late
    async with post.reader():
        await post.until_events("m1", BOUNCE)
        await post.until_events("m2", BOUNCE)


async def test_settings_that_change_while_the_server_is_idle_are_no_trouble_of_the_mailbox(
    post: Post,
) -> None:
    with capture_logs() as said:
        async with post.reader():
            await post.until(lambda: "IDLE" in post.imap.commands)
            await post.change(poll_interval=3600)
            await post.until(lambda: post.imap.commands.count("IDLE") >= 2 and post.imap.logins >= 2)
    assert [each for each in said if each["event"] == "mailbox_trouble"] == []


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_mailbox_that_was_watched_for_long_is_watched_on_without_a_rest(post: Post) -> None:
    await post.change(poll_interval=3600)
    async with post.reader(terms=replace(PROMPT, longest=0.1)):
        await post.until(lambda: post.imap.logins >= 4)


async def test_mailboxes_take_turns_where_more_are_due_than_are_watched_at_once(post: Post) -> None:
    await post.change(poll_interval=3600)
    for folder in ("one", "two", "three"):
        post.imap.folders[folder] = Folder()
        await post.world.add_account(
            folder,
            imap_host="127.0.0.1",
            imap_port=post.imap.port,
            imap_user="bounces",
            imap_password="secret",
            imap_folder=folder,
            imap_ssl=False,
        )
        token = await post.sent(folder, "bob@example.com")
        post.imap.deliver(dsn(("bob@example.com", "5.1.1"), proof=token), folder)
    async with post.reader(terms=replace(PROMPT, most=2)) as reader:
        for folder in ("one", "two", "three"):
            await post.until_events(folder, BOUNCE)
        await post.until(lambda: len(reader._readings) == 2)
