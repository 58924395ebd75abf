"""Writes that also enter commands into the log: both are committed, or neither."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

from mailproxy.audit import Command, Pending
from sql.engine import Engine, Last, Work
from sql.queries import Step

T = TypeVar("T")


def note(commands: Iterable[Command]) -> Step:
    """Their entries, whose numbers come in the commands' order."""
    return Step("note_commands", rows=[asdict(one) | {"number": n} for n, one in enumerate(commands)])


def noted(work: Work[T], pending: Sequence[Pending]) -> Work[T]:
    """The unit with the commands' entries before its first steps, in the same round trip."""
    steps = next(work)
    entering = note(one.command for one in pending)
    found = yield Last((entering, *steps.steps)) if isinstance(steps, Last) else (entering, *steps)
    entries, *found = found
    for one, (entry,) in zip(pending, entries, strict=True):
        one.entry = entry
    try:
        while True:
            found = yield work.send(found)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class NotingEngine:
    """The first write of a command enters it. Hints are not waited for and enter nothing."""

    engine: Engine
    pending: Pending

    @property
    def is_remote(self) -> bool:
        return self.engine.is_remote

    async def write(self, begin: Callable[[], Work[T]]) -> T:
        if self.pending.entry is not None:
            return await self.engine.write(begin)
        try:
            return await self.engine.write(lambda: noted(begin(), [self.pending]))
        except BaseException:
            self.pending.entry = None
            raise

    async def write_soon(self, begin: Callable[[], Work[T]]) -> T:
        return await self.engine.write_soon(begin)

    async def read(self, begin: Callable[[], Work[T]]) -> T:
        return await self.engine.read(begin)

    async def tidy(self) -> None:
        await self.engine.tidy()

    async def aclose(self) -> None:
        await self.engine.aclose()
