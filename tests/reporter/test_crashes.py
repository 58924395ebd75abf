"""RELIABILITY F7: a reporter killed anywhere repeats events with their ids and loses none."""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mailproxy.store import Store
from tests.reporter.conftest import SignUp, until
from tests.support.tenant import Manners


@asynccontextmanager
async def reporter_process(environ: dict[str, str], *step: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.reporter.breakpoint", *step, env=environ
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("step", ["claim", "claimed", "acknowledge", "acknowledged", "settle", "settled"])
async def test_a_reporter_killed_at_a_step_loses_no_event_and_repeats_with_the_same_id(
    environ: dict[str, str], store: Store, sign_up: SignUp, step: str
):
    acme = await sign_up("acme")
    await acme.happens("a", "b", "c")
    before = {r.client_id: r.event_id for r in await store.reports.pending(acme.pk, 10)}
    async with reporter_process(environ, step) as doomed:
        assert await asyncio.wait_for(doomed.wait(), 15) == -signal.SIGKILL
    async with reporter_process(environ):
        await until(acme.is_told_everything)
    told = [(item["id"], item["event_id"]) for item in acme.endpoint.items()]
    repeated = 2 if step == "acknowledge" else 1
    assert Counter(told) == dict.fromkeys(before.items(), repeated)


@pytest.mark.parametrize("step", ["hold", "held"])
async def test_a_reporter_killed_while_it_lets_a_refused_report_wait_loses_nothing(
    environ: dict[str, str], store: Store, sign_up: SignUp, step: str
):
    acme = await sign_up("acme", Manners(says={"ok": True, "error": ["b"]}), Manners())
    await acme.happens("a", "b")
    before = {r.client_id: r.event_id for r in await store.reports.pending(acme.pk, 10)}
    async with reporter_process(environ, step) as doomed:
        assert await asyncio.wait_for(doomed.wait(), 15) == -signal.SIGKILL
    assert (await acme.standing()).pending == 1
    async with reporter_process(environ):
        await until(acme.is_told_everything)
    told = Counter((item["id"], item["event_id"]) for item in acme.endpoint.items())
    assert told == {("a", before["a"]): 1, ("b", before["b"]): 2}
