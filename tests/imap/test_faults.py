"""F46, F47, B73: whatever a server or another reader does, each mail has its effect once and none is left out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mailproxy.config import Settings
from mailproxy.model import EventType
from sql.store import SqlStore
from tests.imap.post import PROMPT, Post, make_post
from tests.sql.conftest import Sql, sql
from tests.support.dsn import dsn
from tests.support.imap import Imap
from tests.support.tls import Authority
from workers.imap.protocol import MOST_MAIL

__all__ = ["sql"]

BOUNCE = EventType.BOUNCE


async def failing(post: Post, words: str) -> None:
    """Until the mailbox is shown as failing for this reason."""
    async with asyncio.timeout(20):
        while True:
            found = await post.store.inbound.health(None)
            if found and found.failure and words in found.failure:
                return
            await asyncio.sleep(0.02)


async def set_aside(post: Post) -> int:
    found = await post.store.inbound.health(None)
    assert found is not None
    return found.quarantined


async def two_bounces(post: Post) -> None:
    for id_ in ("m1", "m2"):
        token = await post.sent(id_, "bob@example.com")
        post.imap.deliver(dsn(("bob@example.com", "5.1.1"), client_id=id_, proof=token))


@pytest.mark.parametrize("fault", ["cut", "refuse", "nil"])
async def test_a_mail_that_cannot_be_fetched_is_tried_again(post: Post, fault: str) -> None:
    await two_bounces(post)
    getattr(post.imap.manners, fault).add(1)
    async with post.reader():
        await failing(post, "mail 1")
        assert await post.events("m2") == [], "nothing is passed over"
        getattr(post.imap.manners, fault).clear()
        await post.until_events("m1", BOUNCE)
        await post.until_events("m2", BOUNCE)


async def test_a_mail_that_can_never_be_fetched_is_set_aside_and_the_next_is_read(post: Post) -> None:
    await two_bounces(post)
    post.imap.manners.refuse.add(1)
    async with post.reader():
        await post.until_events("m2", BOUNCE)
        await post.until(lambda: [mail.uid for mail in post.imap.inbox.mails] == [1])  # it stays where it is
    assert await set_aside(post) == 1


async def test_a_mail_that_is_too_large_is_set_aside_by_its_header(post: Post) -> None:
    await two_bounces(post)
    post.imap.manners.sizes[1] = 1 << 30
    async with post.reader():
        await post.until_events("m2", BOUNCE)
    assert post.imap.commands.count("UID FETCH") == 3
    assert await set_aside(post) == 1


@pytest.mark.parametrize("claim", [100_000_000, 1 << 40, -5])
async def test_a_literal_that_is_not_as_long_as_it_says_costs_its_connection(post: Post, claim: int) -> None:
    await two_bounces(post)
    post.imap.manners.claim[1] = claim
    async with post.reader():
        await failing(post, "mail 1")
        post.imap.manners.claim.clear()
        await post.until_events("m1", BOUNCE)
        await post.until_events("m2", BOUNCE)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_mail_that_is_sent_again_and_again_costs_its_connection(post: Post) -> None:
    token = await post.sent("m1", "bob@example.com")
    post.imap.deliver(dsn(("bob@example.com", "5.1.1"), proof=token) + b"x" * (MOST_MAIL >> 2))
    post.imap.manners.times[1] = 4
    async with post.reader():
        await failing(post, "of an answer")
        post.imap.manners.times.clear()
        await post.until_events("m1", BOUNCE)


async def test_a_mail_that_is_expunged_while_it_is_fetched_is_gone(post: Post) -> None:
    await two_bounces(post)
    post.imap.manners.expunge.add(1)
    async with post.reader():
        await post.until_events("m2", BOUNCE)
    assert await post.events("m1") == []
    assert await set_aside(post) == 0


@pytest.mark.parametrize(
    "command", ["AUTHENTICATE", "SELECT", "UID SEARCH", "UID FETCH", "UID STORE", "IDLE"]
)
async def test_a_server_that_says_bye_is_visited_again(post: Post, command: str) -> None:
    post.imap.manners.bye = command
    await two_bounces(post)
    async with post.reader():
        await post.until_events("m2", BOUNCE)
        await post.until(lambda: post.imap.manners.bye is None and not post.imap.inbox.mails)
    assert await post.events("m1") == [BOUNCE]


async def test_uids_that_nobody_asked_for_are_ignored(post: Post) -> None:
    await two_bounces(post)
    post.imap.manners.stray = [0, 1 << 32, 1 << 33]
    async with post.reader():
        await post.until_events("m2", BOUNCE)


async def test_a_server_without_uidvalidity_is_not_read(post: Post) -> None:
    await two_bounces(post)
    post.imap.manners.no_uidvalidity = True
    async with post.reader():
        await failing(post, "UIDVALIDITY")
    assert await post.events("m1") == []


async def test_another_uidvalidity_and_a_restart_repeat_nothing(post: Post) -> None:
    await post.change(processed="seen")
    await two_bounces(post)
    async with post.reader():
        await post.until_events("m2", BOUNCE)
        post.imap.renumber()
        token = await post.sent("m3", "bob@example.com")
        post.imap.deliver(dsn(("bob@example.com", "5.1.1"), proof=token))
        await post.until_events("m3", BOUNCE)
    post.imap.renumber()
    async with post.reader():
        await post.until_read(3)
        await post.until(lambda: all("\\Seen" in mail.flags for mail in post.imap.inbox.mails))
    for id_ in ("m1", "m2", "m3"):
        assert await post.events(id_) == [BOUNCE]


async def test_two_readers_share_a_mailbox_one_after_the_other(post: Post) -> None:
    async with post.reader() as first, post.reader() as second:
        await two_bounces(post)
        await post.until_events("m2", BOUNCE)
        assert sorted([len(first._readings), len(second._readings)]) == [0, 1]
    assert await post.events("m1") == [BOUNCE]


async def test_a_reader_that_does_not_hold_the_mailbox_changes_nothing(post: Post) -> None:
    await two_bounces(post)
    stranger = await post.world.process("test/imap.stranger", role="imap")
    async with post.reader() as reader:
        await post.until_events("m2", BOUNCE)
        leased = next(iter(reader._readings.values())).leased
        assert await post.store.inbound.stuck(leased, stranger, 9) is None
        assert await post.store.inbound.opened(leased, stranger, 1) is None
        assert not await post.store.inbound.checked(leased, stranger)
        assert not await post.store.inbound.skip(leased, stranger, 1, 9)


@pytest.mark.parametrize("able", ["", "MOVE", "UIDPLUS IDLE", "AUTH=PLAIN"])
@pytest.mark.parametrize("processed", ["delete", "move:Done & gelöscht"])
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_servers_that_can_do_little_are_read_too(
    store: SqlStore, settings: Settings, able: str, processed: str
) -> None:
    async with Imap(able=able) as imap:
        post = await make_post(store, settings, imap, processed=processed)
        await two_bounces(post)
        async with post.reader():
            await post.until_events("m2", BOUNCE)
            await post.until(lambda: not imap.inbox.mails)
    kept = [folder for name, folder in imap.folders.items() if name != "INBOX"]
    assert [len(folder.mails) for folder in kept] == ([] if processed == "delete" else [2])


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_what_somebody_has_flagged_in_an_accounts_mailbox_is_not_removed_with_bounces(
    store: SqlStore, settings: Settings
) -> None:
    async with Imap(able="IDLE") as imap:
        post = await make_post(store, settings, imap, enabled=False)
        await post.world.add_account(
            "own",
            imap_host="127.0.0.1",
            imap_port=imap.port,
            imap_user="bounces",
            imap_password="secret",
            imap_ssl=False,
        )
        imap.deliver(b"From: eve@example.com\r\nSubject: hello\r\n\r\nsecond thoughts\r\n")
        imap.inbox.mails[0].flags.add("\\Deleted")
        await two_bounces(post)
        async with post.reader():
            await post.until(lambda: all("\\Deleted" in mail.flags for mail in imap.inbox.mails))
            await post.until(lambda: imap.commands[-1] == "IDLE")
    assert len(imap.inbox.mails) == 3
    assert await post.events("m2") == [BOUNCE]


@asynccontextmanager
async def secured(tmp_path: Path, store: SqlStore, settings: Settings, **how: object) -> AsyncIterator[Post]:
    context = Authority().server_context(tmp_path)
    async with Imap(tls=context, **how) as imap:  # type: ignore[arg-type]
        yield await make_post(store, settings, imap, imap_ssl="starttls" not in how)


@pytest.mark.parametrize("how", [{}, {"starttls": True}])
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_certificate_nobody_vouches_for_is_not_given_the_password(
    tmp_path: Path, store: SqlStore, settings: Settings, how: dict[str, object]
) -> None:
    async with secured(tmp_path, store, settings, **how) as post, post.reader():
        await failing(post, "CERTIFICATE_VERIFY_FAILED")
        assert post.imap.logins == 0


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_refused_login_is_shown_without_the_password(post: Post) -> None:
    post.imap.login = ("bounces", "another secret")
    async with post.reader():
        await failing(post, "login")
    found = await post.store.inbound.health(None)
    assert found is not None
    assert "secret" not in (found.failure or "")
    assert found.fails >= 1


async def test_a_mailbox_counts_as_failing_for_as_long_as_it_is_tried(post: Post, sql: Sql) -> None:
    post.imap.manners.no_uidvalidity = True
    async with post.reader():
        await failing(post, "UIDVALIDITY")
    assert await post.store.inbound.failing() == 1
    past = "now() - interval '2 hours'" if post.settings.database.kind == "postgres" else "0"
    sql(f"UPDATE mailbox SET next_try_at = {past}")
    assert await post.store.inbound.failing() == 0


async def test_a_visit_that_is_interrupted_makes_no_failing_mailbox_well(post: Post) -> None:
    post.imap.manners.no_uidvalidity = True
    async with post.reader():
        await failing(post, "UIDVALIDITY")
        post.imap.manners.silent = True
        await post.until(lambda: "silence" in post.imap.commands)
        before = await post.store.inbound.health(None)
    after = await post.store.inbound.health(None)
    assert before is not None
    assert after is not None
    assert (after.fails, after.failing_since) == (before.fails, before.failing_since)
    assert after.failing_since is not None


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_a_reader_whose_beat_ends_ends_with_it_instead_of_reading_without_a_lease(
    post: Post, sql: Sql
) -> None:
    async def read() -> None:
        async with post.reader(terms=replace(PROMPT, look=None)) as reader:
            await post.change(poll_interval=3600)
            await post.until(lambda: "IDLE" in post.imap.commands)
            sql("ALTER TABLE process RENAME TO former")
            await post.until(lambda: not reader._readings)

    with pytest.raises(BaseExceptionGroup):
        await read()
