"""Content that was fetched lately, by its source: short content in memory, long content on disk.

Whether an entry serves a message is `serves`; a source's key begins with its tenant, and no hash that a client
names is ever part of it.
"""

import asyncio
import contextlib
import json
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from mailproxy.attachments.held import Held, Incoming
from mailproxy.model import Instant, Seconds

LOOKED_THROUGH_EVERY: Seconds = 60.0

_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a message has to have: the content it had before, or that of an MD5, or what its source has had since it
    was accepted."""

    accepted_at: Instant
    md5: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """Content, fetched after every message accepted up to `horizon` was."""

    held: Held
    horizon: Instant


def serves(kept: Kept, wanted: Wanted) -> bool:
    """Pure. The horizon is of the database's clock like every acceptance, so hosts' clocks do not matter."""
    digests = kept.held.digests
    if wanted.md5 is not None and wanted.md5 != digests.md5:
        return False
    if wanted.sha256 is not None:
        return wanted.sha256 == digests.sha256
    return wanted.md5 is not None or wanted.accepted_at <= kept.horizon


class Memory:
    """What this process fetched: the least lately used goes first. Long content counts although it lies in a file."""

    def __init__(self, most: int, ttl: Seconds, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._ttl = ttl
        self._clock = clock
        self._entries: OrderedDict[str, tuple[Kept, float]] = OrderedDict()
        self._size = 0

    def get(self, key: str) -> Kept | None:
        found = self._entries.get(key)
        if found is None:
            return None
        if found[1] <= self._clock():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return found[0]

    def put(self, key: str, kept: Kept) -> None:
        self._drop(key)
        if kept.held.size > self._most or not self._ttl:
            return
        self._entries[key] = (kept, self._clock() + self._ttl)
        self._size += kept.held.size
        while self._size > self._most:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: str) -> None:
        if (found := self._entries.pop(key, None)) is not None:
            self._size -= found[0].held.size


class Disk:
    """Files that several processes share. Each appears whole or not at all, and is believed only if its content has
    the hash that stands at its beginning. Blocks, so it is called in a thread."""

    def __init__(
        self, folder: Path, most: int, ttl: Seconds, spool: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self._folder = folder
        self._most = most
        self._ttl = ttl
        self._spool = spool
        self._clock = clock
        self._written = 0
        self._looked_at = 0.0

    def get(self, key: str, wanted: Wanted) -> Kept | None:
        try:
            with self._path(key).open("rb") as file:
                if os.fstat(file.fileno()).st_mtime + self._ttl <= self._clock():
                    return None
                head = json.loads(file.readline(4096))
                incoming = Incoming(self._spool)
                while octets := file.read(_CHUNK):
                    incoming.take(octets)
            kept = Kept(incoming.held(), float(head["horizon"]))
            if kept.held.digests.sha256 != head["sha256"]:
                raise ValueError("its content is not what was written")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            with contextlib.suppress(OSError):
                self._path(key).unlink()
            return None
        return kept if serves(kept, wanted) else None

    def put(self, key: str, kept: Kept) -> None:
        """A cache that cannot be written is none."""
        if kept.held.size > self._most or not self._ttl:
            return
        path = self._path(key)
        draft = path.with_name(f".{secrets.token_hex(8)}")
        head = {"sha256": kept.held.digests.sha256, "horizon": kept.horizon}
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor, made with its mode
                file.write(json.dumps(head).encode() + b"\n")
                for octets in kept.held.chunks(_CHUNK):
                    file.write(octets)
            os.utime(draft, (self._clock(), self._clock()))
            draft.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink()
        self._written += kept.held.size
        with contextlib.suppress(OSError):
            self._make_room()

    def _make_room(self) -> None:
        """Others write, too: what there is is looked through now and then."""
        now = self._clock()
        if self._written * 10 < self._most and now < self._looked_at + LOOKED_THROUGH_EVERY:
            return
        self._written, self._looked_at = 0, now
        left = 0
        for written_at, size, path in sorted(self._files(), reverse=True):
            left += size
            if left > self._most or written_at + self._ttl <= now:
                left -= size
                with contextlib.suppress(OSError):
                    path.unlink()

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        for path in self._folder.glob("??/*"):
            with contextlib.suppress(OSError):
                found = path.stat()
                yield found.st_mtime, found.st_size, path

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / key


@dataclass(frozen=True, slots=True)
class Cache:
    """Both; with a disk, what has `threshold` octets or more lies there only."""

    memory: Memory
    disk: Disk | None
    threshold: int
    threads: Executor

    async def get(self, key: str, wanted: Wanted) -> Held | None:
        kept = self.memory.get(key)
        if kept is not None and serves(kept, wanted):
            return kept.held
        if self.disk is None:
            return None
        found = await asyncio.get_running_loop().run_in_executor(self.threads, self.disk.get, key, wanted)
        return None if found is None else found.held

    async def put(self, key: str, kept: Kept) -> None:
        if self.disk is None or kept.held.size < self.threshold:
            self.memory.put(key, kept)
        else:
            await asyncio.get_running_loop().run_in_executor(self.threads, self.disk.put, key, kept)
