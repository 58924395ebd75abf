"""What a campaign knows at its end: four append-only histories, and how each message ended."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.process.peers import Told
from tests.support.smtp import Delivery

HOLD, RETRY = "hold", "retry"
DOUBTFUL = ("dropdot", "hangdot", "garbledot")


@dataclass(frozen=True, slots=True)
class Accepted:
    """The API answered that it has the message; `policy` is its account's for unknown outcomes."""

    t: float
    id: str
    policy: str
    to: str

    @property
    def doubtful(self) -> bool:
        """The server itself leaves the outcome open, whatever we do."""
        return self.to.startswith(DOUBTFUL)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was done to the service. `cuts` is how many senders may have lost a reply by it."""

    t: float
    kind: str
    node: int
    pid: int | None = None
    cuts: int = 0


@dataclass(frozen=True, slots=True)
class Histories:
    """`final` is the state of each message by the API at the end; `sessions` the SMTP connections of a sender."""

    accepted: tuple[Accepted, ...]
    deliveries: tuple[Delivery, ...]
    told: tuple[Told, ...]
    faults: tuple[Fault, ...]
    final: Mapping[str, str] = field(repr=False)
    sessions: int


class Book:
    """A file that is only ever appended to, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, *entries: Accepted | Fault) -> None:
        os.write(self._fd, b"".join(json.dumps(asdict(one)).encode() + b"\n" for one in entries))

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_bytes().splitlines()]

    def close(self) -> None:
        os.close(self._fd)
