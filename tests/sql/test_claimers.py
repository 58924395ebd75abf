"""Several processes at one queue: every message is claimed once, and shared limits hold to the letter."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import Sequence

import pytest

from mailproxy.limits import ACCOUNT, TENANT
from mailproxy.model import AccountPk
from tests.sql.claimer import Claimer
from tests.sql.conftest import Sql, World
from tests.sql.test_limits import most_in_a_window

PROCESSES = 4


async def drained(claimers: Sequence[Claimer]) -> list[list[tuple[str, float]]]:
    """Run them all, started at once; what each was granted, and when."""
    running = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.sql.claimer", one.to_json()), stdin=PIPE, stdout=PIPE
        )
        for one in claimers
    ]
    try:
        for process in running:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        answers = await asyncio.gather(*(process.communicate(b"go\n") for process in running))
        assert [process.returncode for process in running] == [0] * len(running)
    finally:
        for process in running:
            if process.returncode is None:
                process.kill()
                await process.wait()
    logs = [answer.decode().splitlines() for answer, _ in answers]
    return [[(line.split()[0], float(line.split()[1])) for line in log] for log in logs]


def claimers(environ: dict[str, str], accounts: list[AccountPk], pause: float = 0.0) -> list[Claimer]:
    return [Claimer(environ, accounts, slot, pause=pause) for slot in range(PROCESSES)]


async def test_two_thousand_messages_are_each_claimed_once(world: World, environ: dict[str, str]) -> None:
    accounts = [world.account, await world.add_account("second"), await world.add_account("third")]
    for number, account in enumerate([world.account, *accounts]):
        await world.post(*(f"m{number}-{i}" for i in range(500)), account_pk=account, priority=number % 4)
    found = await drained(claimers(environ, accounts))
    counts = Counter(client_id for log in found for client_id, _ in log)
    assert len(counts) == 2000
    assert set(counts.values()) == {1}
    assert all(found)
    totals = await world.store.fleet.totals()
    assert (totals.messages, totals.sent) == (2000, 2000)


@pytest.mark.parametrize("kind", [ACCOUNT, TENANT])
async def test_no_window_of_any_width_is_ever_exceeded(
    world: World, environ: dict[str, str], sql: Sql, kind: int
) -> None:
    accounts = [world.account, await world.add_account("second")]
    widths = {"brief": (0.25, 4, 16), "long": (0.5, 6, 30)}
    scope = world.account if kind == ACCOUNT else world.tenant
    for name, (slot_s, slots, limit) in widths.items():
        sql("INSERT INTO rate_limit VALUES (?, ?, ?, ?, ?, ?)", kind, scope, name, slot_s, slots, limit)
    limited = accounts if kind == TENANT else accounts[:1]
    for account in limited:
        await world.post(*(f"m{account}-{i}" for i in range(40 // len(limited))), account_pk=account)
    found = await drained(claimers(environ, accounts, pause=0.4))
    moments = [at for log in found for _, at in log]
    assert len(moments) == (await world.store.fleet.totals()).sent == 40
    for slot_s, slots, limit in widths.values():
        assert limit // 2 < most_in_a_window(moments, slot_s * slots) <= limit
