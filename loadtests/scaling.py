"""What a step of `make bench-scale` is given, and what it gives back."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loadtests.stand import fresh_database
from mailproxy.config import Database


@dataclass(frozen=True, slots=True)
class Ground:
    """A folder of the step's own, a PostgreSQL server with its pid, and the share of the sizes that is wanted."""

    folder: Path
    server: str
    postmaster: int
    share: float

    def size(self, full: int, *, least: int = 1) -> int:
        return max(least, round(full * self.share))

    def database(self, dialect: str, name: str) -> Database:
        return fresh_database(
            self.server if dialect == "postgres" else None, self.folder, f"{name}_{self.folder.name}"
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """A figure and the limit it is held to, at most or at least."""

    what: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @classmethod
    def of(cls, figure: Mapping[str, Any]) -> "Judged":
        return cls(**figure)

    @property
    def is_met(self) -> bool:
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )

    @property
    def shown(self) -> str:
        return f"{self.value:,.1f} {self.unit}"

    @property
    def target(self) -> str:
        if self.at_most is not None:
            return f"<= {self.at_most:g} {self.unit}"
        return f">= {self.at_least:g} {self.unit}" if self.at_least is not None else ""


@dataclass(frozen=True, slots=True)
class Found:
    """The figures of a step, and what else explains them."""

    figures: tuple[Judged, ...]
    more: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        return {"figures": [asdict(figure) for figure in self.figures], "more": dict(self.more)}


Step = Callable[[Ground], Awaitable[Found]]
