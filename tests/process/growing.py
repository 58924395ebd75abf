"""A log that another process writes, read on from where the last look ended."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


class GrowingLog(Generic[T]):
    """The lines so far, each parsed once; a torn last line is not one yet."""

    def __init__(self, path: Path, parse: Callable[[bytes], T]) -> None:
        self.path = path
        self._parse = parse
        self._offset = 0
        self._entries: list[T] = []

    def read(self) -> Sequence[T]:
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._offset)
                whole, newline, _ = file.read().rpartition(b"\n")
            if newline:
                self._offset += len(whole) + 1
                self._entries += map(self._parse, whole.split(b"\n"))
        return self._entries
