"""An engine whose first write also enters a command into the log: both are committed, or neither."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mailproxy.audit import Command, Pending
from sql.engine import Engine, Last, Work
from sql.queries import Step

T = TypeVar("T")


def note(command: Command) -> Step:
    return Step(
        "note_command",
        {
            "endpoint": command.endpoint,
            "tenant_id": command.tenant_id,
            "actor": command.actor,
            "request_id": command.request_id,
            "object": command.object,
            "payload": command.payload,
            "status": command.status,
        },
    )


@dataclass(frozen=True, slots=True)
class NotingEngine:
    """Hints are not waited for and enter nothing."""

    engine: Engine
    pending: Pending

    async def write(self, begin: Callable[[], Work[T]]) -> T:
        if self.pending.entry is not None:
            return await self.engine.write(begin)
        try:
            return await self.engine.write(lambda: _noted(begin(), self.pending))
        except BaseException:
            self.pending.entry = None
            raise

    async def write_soon(self, begin: Callable[[], Work[T]]) -> T:
        return await self.engine.write_soon(begin)

    async def read(self, begin: Callable[[], Work[T]]) -> T:
        return await self.engine.read(begin)

    async def aclose(self) -> None:
        await self.engine.aclose()


def _noted(work: Work[T], pending: Pending) -> Work[T]:
    """The unit with the entry before its first steps, in the same round trip."""
    steps = next(work)
    entering = note(pending.command)
    found = yield Last((entering, *steps.steps)) if isinstance(steps, Last) else (entering, *steps)
    ((pending.entry,),), *found = found
    try:
        while True:
            found = yield work.send(found)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
