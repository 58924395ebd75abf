"""From what the API said to frozen values."""

from collections.abc import Callable, Mapping
from dataclasses import field, fields
from typing import Any, TypeVar

from mailproxy.client.errors import UnexpectedAnswer

T = TypeVar("T")


def read(kind: type[T], given: Any) -> T:
    """The value of this kind in an answer; raises UnexpectedAnswer when a field that is always there is not."""
    if not isinstance(given, Mapping):
        raise UnexpectedAnswer(f"{kind.__name__} expected, not {type(given).__name__}")
    found: dict[str, Any] = {"raw": given}
    for one in fields(kind):  # type: ignore[arg-type]  # all kinds are dataclasses
        if one.name in given and one.name != "raw":
            inner: Callable[[Any], Any] = one.metadata.get("of", _as_it_is)
            found[one.name] = inner(given[one.name])
    try:
        return kind(**found)
    except TypeError as error:
        raise UnexpectedAnswer(f"The answer is no {kind.__name__}: {error}") from error


def many(kind: type[T], given: Any) -> list[T]:
    return [read(kind, one) for one in given or ()]


def _as_it_is(value: Any) -> Any:
    return value


def each(kind: type[Any]) -> Any:
    """A field of several such values."""
    return field(default=(), metadata={"of": lambda given: tuple(many(kind, given))})


def raw() -> Any:
    """The field for the answer as it came."""
    return field(default_factory=dict, repr=False, compare=False)
