"""What the document says about one route beyond the table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Errors = tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """`answer` is the type of the answers at `answered_at`, or their media type; `body` the type of a body that the
    endpoint's `body` parameter does not tell, `sent` an example of it, `given` of parameters. `errors` are those
    that only the endpoint knows; `happens_once` under an `Idempotency-Key`."""

    name: str
    summary: str
    answer: Any
    example: object = None
    body: Any = None
    body_required: bool = True
    sent: object = None
    given: Mapping[str, str] = field(default_factory=dict)
    errors: Errors = ()
    answered_at: tuple[int, ...] = (200,)
    happens_once: bool = False
