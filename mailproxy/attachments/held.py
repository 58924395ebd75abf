"""Content that was fetched: short content in memory, long content in a file without a name."""

import hashlib
import os
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

IN_MEMORY = 1 << 20


@dataclass(frozen=True, slots=True)
class Digests:
    """Of the same content; hexadecimal."""

    sha256: str
    md5: str


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Held:
    """Content at hand. Its octets never change; a file's place on disk is free once nobody holds it any more."""

    size: int
    digests: Digests
    octets: bytes | None
    file: "Unnamed | None" = None

    def chunks(self, length: int) -> Iterator[bytes]:
        """In order, `length` octets at a time; raises OSError when the file cannot be read to its end."""
        if self.octets is not None:
            for start in range(0, self.size, length):
                yield self.octets[start : start + length]
            return
        assert self.file is not None, "content is in memory or in a file"
        for start in range(0, self.size, length):
            wanted = min(length, self.size - start)
            yield self.file.read(start, wanted)


class Unnamed:
    """A temporary file that only this process can open, gone with it."""

    __slots__ = ("__weakref__", "_fd")

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd, name = tempfile.mkstemp(dir=folder)
        os.unlink(name)  # noqa: PTH108 - mkstemp gives text
        weakref.finalize(self, os.close, self._fd)

    def append(self, octets: bytes) -> None:
        rest = memoryview(octets)
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    def read(self, start: int, length: int) -> bytes:
        found = os.pread(self._fd, length, start)
        while len(found) < length:
            more = os.pread(self._fd, length - len(found), start + len(found))
            if not more:
                raise OSError("a temporary file is shorter than what was written to it")
            found += more
        return found


class Incoming:
    """Takes content as it comes and knows its digests at the end. Raises OSError when the disk is full."""

    def __init__(self, folder: Path) -> None:
        self.size = 0
        self._folder = folder
        self._octets = bytearray()
        self._file: Unnamed | None = None
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)

    def take(self, octets: bytes) -> None:
        self.size += len(octets)
        self._sha256.update(octets)
        self._md5.update(octets)
        if self._file is None:
            self._octets += octets
            if self.size <= IN_MEMORY:
                return
            self._file = Unnamed(self._folder)
            octets = bytes(self._octets)
            self._octets.clear()
        self._file.append(octets)

    def held(self) -> Held:
        digests = Digests(self._sha256.hexdigest(), self._md5.hexdigest())
        if self._file is None:
            return Held(self.size, digests, bytes(self._octets))
        return Held(self.size, digests, None, self._file)
