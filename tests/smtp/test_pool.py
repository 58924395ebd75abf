"""Connections are reused while they are good, and never for another account than they were made for."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailproxy import metrics
from mailproxy.outcome import AccountTrouble, Deferred, Sent, Trouble
from tests.smtp.conftest import SHORT, account, offer
from tests.support.smtp import Sink
from workers.sender.pool import Pool, pool_key
from workers.sender.session import ConnectionLost, Session, Timeouts


def pool_for(
    sink: Sink, *, limit: int = 2, timeouts: Timeouts | None = None, idle_limit: float = 30.0, **changes: Any
):
    return Pool(
        account(sink.port, **changes), limit=limit, timeouts=timeouts or Timeouts(), idle_limit=idle_limit
    )


async def borrow(pool: Pool) -> Session:
    session = await pool.acquire()
    assert isinstance(session, Session), session
    return session


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_connection_is_used_again(log: Path) -> None:
    async with Sink(log) as sink:
        pool = pool_for(sink)
        for _ in range(3):
            session = await borrow(pool)
            await offer(session)
            assert isinstance(await session.dot(), Sent)
            pool.release(session)
        await pool.close()
    assert (sink.opened, pool.opened, pool.open_count) == (1, 1, 0)
    assert sink.commands[-1] == "QUIT"


async def test_no_more_connections_than_the_limit_are_open(log: Path) -> None:
    async with Sink(log) as sink:
        pool = pool_for(sink, limit=2)
        first, second = await borrow(pool), await borrow(pool)
        third = asyncio.create_task(borrow(pool))
        await asyncio.wait([third], timeout=0.05)
        assert not third.done()
        pool.release(first)
        assert await third is first
        pool.release(first)
        pool.release(second)
        assert pool.open_count == 2
        await pool.close()
    assert sink.opened == 2


async def test_a_failed_opening_frees_its_place(log: Path) -> None:
    async with Sink(log, greeting="421 full") as sink:
        pool = pool_for(sink, limit=1)
        for _ in range(3):
            trouble = await pool.acquire()
            assert isinstance(trouble, AccountTrouble)
        assert pool.open_count == 0


async def test_a_cancelled_opening_frees_its_place(log: Path) -> None:
    async with Sink(log, hang="connect") as sink:
        pool = pool_for(sink, limit=1)
        for _ in range(2):
            opening = asyncio.create_task(pool.acquire())
            await until(lambda: sink.opened)
            sink.opened = 0
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
        assert pool.open_count == 0


@pytest.mark.parametrize("options", [{"ttl": 0.0}, {"idle_limit": 0.0}])
async def test_an_old_or_long_idle_connection_is_not_used_again(log: Path, options: dict[str, float]) -> None:
    async with Sink(log) as sink:
        pool = pool_for(sink, **options)
        for _ in range(2):
            pool.release(await borrow(pool))
        await pool.close()
    assert sink.opened == 2


async def test_a_connection_closed_by_the_server_is_not_used_again(log: Path) -> None:
    async with Sink(log, cut="rset") as sink:
        pool = pool_for(sink)
        session = await borrow(pool)
        await offer(session, "refuse550@x.org")
        pool.release(session)
        again = await borrow(pool)
        assert again is session
        assert isinstance(await offer(again), ConnectionLost)
        pool.release(again)
        assert await borrow(pool) is not session
        await pool.close()


async def test_an_idle_connection_whose_server_left_is_noticed(log: Path) -> None:
    async with Sink(log) as sink:
        pool = pool_for(sink)
        session = await borrow(pool)
        pool.release(session)
    await until(lambda: not session.usable)
    trouble = await pool.acquire()
    assert isinstance(trouble, AccountTrouble)
    assert trouble.trouble is Trouble.REFUSED


def counted(account_id: str) -> dict[str, float]:
    labels = f'account_id="{account_id}"'
    lines = [line for line in metrics.exposition(None).decode().splitlines() if labels in line]
    series = (line.rpartition(" ") for line in lines if line.startswith("gmp_smtp_"))
    return {name.partition("{")[0]: float(value) for name, _, value in series}


async def test_open_connections_are_counted_and_so_are_those_opened_for_broken_ones(log: Path) -> None:
    async with Sink(log) as sink:
        pool = pool_for(sink, limit=3, id="counted", idle_limit=0.0)
        kept, broken, unwanted = [await borrow(pool) for _ in range(3)]
        assert counted("counted") == {"gmp_smtp_connections": 3.0, "gmp_smtp_reconnects_total": 0.0}
        broken.abandon()
        pool.release(broken)
        pool.discard(unwanted)
        assert counted("counted") == {"gmp_smtp_connections": 1.0, "gmp_smtp_reconnects_total": 0.0}
        instead, one_more = await borrow(pool), await borrow(pool)
        assert counted("counted") == {"gmp_smtp_connections": 3.0, "gmp_smtp_reconnects_total": 1.0}
        for session in (kept, instead, one_more):
            pool.release(session)
        await pool.close()
    assert counted("counted") == {"gmp_smtp_connections": 0.0, "gmp_smtp_reconnects_total": 1.0}


async def test_a_discarded_connection_is_closed_without_a_word(log: Path) -> None:
    async with Sink(log) as sink:
        pool = pool_for(sink, limit=1)
        session = await borrow(pool)
        await offer(session)
        pool.discard(session)
        assert not session.usable
        pool.release(await borrow(pool))
        await pool.close()
    assert sink.messages() == []
    assert sink.commands.count("QUIT") == 1


@pytest.mark.parametrize(
    "change",
    [{"password": "new"}, {"user": "v"}, {"version": 2}, {"use_tls": False}, {"tls_verify": False}],
)
async def test_a_changed_account_gets_new_connections(log: Path, change: dict[str, Any]) -> None:
    async with Sink(log) as sink:
        pool = pool_for(sink)
        lent, idle = await borrow(pool), await borrow(pool)
        pool.release(idle)
        pool.update(replace(pool.account, ttl=60.0))
        assert pool.open_count == 2
        pool.update(replace(pool.account, **change))
        assert pool.open_count == 1
        pool.release(lent)
        await pool.close()
        assert pool.open_count == 0
    assert sink.commands.count("QUIT") == 2


async def test_the_key_never_shows_the_password(log: Path) -> None:
    assert "hunter2" not in repr(pool_key(account(25, password="hunter2")))


async def test_idle_connections_are_swept(log: Path) -> None:
    async with Sink(log) as sink:
        pool = pool_for(sink, idle_limit=0.0)
        pool.release(await borrow(pool))
        assert pool.open_count == 1
        pool.close_idle()
        assert pool.open_count == 0
        await pool.close()


async def test_an_account_seen_encrypted_never_goes_in_clear(log: Path, server_tls) -> None:
    async with Sink(log, tls=server_tls()) as sink:
        pool = pool_for(sink, ttl=0.0)
        session = await borrow(pool)
        assert session.tls is not None
        pool.release(session)
        sink.manners = replace(sink.manners, starttls=False)
        trouble = await pool.acquire()
        assert isinstance(trouble, AccountTrouble)
        assert trouble.trouble is Trouble.TLS
        await pool.close()


async def test_a_server_that_lies_about_pipelining_gets_one_command_at_a_time(log: Path) -> None:
    async with Sink(log, hang="rcpt") as sink:
        pool = pool_for(sink, timeouts=SHORT)
        session = await borrow(pool)
        assert isinstance(await offer(session), Deferred)
        pool.release(session)
        sink.manners = replace(sink.manners, hang=None)
        session = await borrow(pool)
        assert not session.pipelining
        pool.release(session)
        await pool.close()
