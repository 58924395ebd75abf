import asyncio

import pytest

from mailproxy.config import Settings
from mailproxy.errors import CommitUnknown, ConfigurationError, StorageUnavailable
from workers.control import Message, Ready, decode
from workers.frame import Life, drain, exit_code


def _life(drain_seconds: float = 60.0) -> Life:
    return Life(Settings(drain_seconds=drain_seconds), "sender", 0, "node/sender.0#00000000")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("no key"), 78),
        (StorageUnavailable("down"), 75),
        (CommitUnknown("cut"), 75),
        (KeyError("bug"), 1),
        (ExceptionGroup("", [StorageUnavailable("down"), StorageUnavailable("down")]), 75),
        (ExceptionGroup("", [StorageUnavailable("down"), ConfigurationError("no key")]), 78),
        (ExceptionGroup("", [StorageUnavailable("down"), ExceptionGroup("", [KeyError("bug")])]), 1),
    ],
)
def test_an_error_becomes_the_exit_code_it_means(error: Exception, code: int) -> None:
    assert exit_code(error) == code


def test_a_worker_without_a_supervisor_speaks_to_nobody() -> None:
    _life().ready()


def test_ready_is_told_to_the_supervisor() -> None:
    told: list[Message] = []
    life = _life()
    life.write = lambda line: told.append(decode(line))
    life.ready()
    assert told == [Ready()]


def test_the_time_left_counts_down_from_the_first_stop_and_a_second_only_shortens_it() -> None:
    life = _life()
    assert life.drain_left() == 60.0
    life.stop(30.0)
    assert life.stopping.is_set()
    assert 29.0 < life.drain_left() <= 30.0
    life.stop(3.0)
    assert 2.0 < life.drain_left() <= 3.0
    life.stop(30.0)
    assert life.drain_left() <= 3.0
    life.stop(0.0)
    assert life.drain_left() == 0.0


async def test_drain_waits_for_what_ends_and_cuts_off_what_does_not() -> None:
    life = _life()
    may_end = asyncio.Event()
    ending = asyncio.create_task(may_end.wait())
    endless = asyncio.create_task(asyncio.Event().wait())
    life.stop(0.3)
    may_end.set()
    assert await drain([ending, endless], life.drain_left) == {endless}
    assert ending.result() is True
    assert endless.cancelled()


async def test_drain_hears_of_a_shorter_deadline() -> None:
    life = _life()
    life.stop(60.0)
    draining = asyncio.create_task(drain([asyncio.create_task(asyncio.Event().wait())], life.drain_left))
    life.stop(0.0)
    async with asyncio.timeout(5):
        assert len(await draining) == 1
