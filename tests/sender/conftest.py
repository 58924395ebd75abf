"""A doomed sender as a process of its own, ended whatever happens."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.sender.world import World

Doom = Callable[[World, str, str], Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def doom(environ: dict[str, str], tmp_path: Path) -> AsyncIterator[Doom]:
    """Start a sender that kills or stops itself at a step; returns once it has."""
    started: list[asyncio.subprocess.Process] = []

    async def start(world: World, step: str, deed: str) -> asyncio.subprocess.Process:
        with (tmp_path / f"doomed-{len(started)}.log").open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.sender.doomed", str(world.account), "0", step, deed),
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=environ
                | {
                    "OWNER": f"test/doomed.{len(started)}",
                    "SUCCEEDS": f"test/doomed.{len(started) - 1}",
                    "GMP_LEASE_SECONDS": "1.5",
                },
            )
        started.append(process)
        assert process.stdout is not None
        async with asyncio.timeout(20):
            said = await process.stdout.readline()
        assert said, f"no {deed} at {step}: " + Path(errors.name).read_text()[-2000:]
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()
