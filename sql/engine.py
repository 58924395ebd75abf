"""What a dialect's adapter offers: it drives units of work, which know queries by name and nothing of drivers.

A unit of work is a generator that yields tuples of steps (run in order, in one round trip where the driver can)
and receives their rows; its return value is the transaction's result. So each transaction is written once, for
an asynchronous driver and for a writer thread alike.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sql.queries import Row, Step

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Last:
    """A unit's last steps: whatever they find, the transaction commits, so the COMMIT may travel with them."""

    steps: tuple[Step, ...]


Work = Generator[tuple[Step, ...] | Last, list[list[Row]], T]


class Engine(Protocol):
    """Raises StorageUnavailable or CommitUnknown; `begin` makes a fresh unit so that it can be run again."""

    @property
    def is_remote(self) -> bool:
        """Whether an answer costs a round trip, so that a unit better asks more at once."""
        ...

    async def write(self, begin: Callable[[], Work[T]]) -> T:
        """Run a unit in one transaction that is durable when this returns."""
        ...

    async def write_soon(self, begin: Callable[[], Work[T]]) -> T:
        """The same without waiting for durability: heart-beats, hints."""
        ...

    async def read(self, begin: Callable[[], Work[T]]) -> T:
        """Run a reading unit on one snapshot."""
        ...

    async def tidy(self) -> None:
        """Make room of the queue's dead rows, where the database takes long to do so by itself."""
        ...

    async def aclose(self) -> None: ...


def one(query: str, **params: object) -> Work[list[Row]]:
    """The unit of a single step."""
    return alone(Step(query, params))


def alone(step: Step) -> Work[list[Row]]:
    (rows,) = yield Last((step,))
    return rows
