"""Files below the folders an operator named: opened one component after another, and no link is followed."""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mailproxy.attachments.held import Held, Incoming
from mailproxy.attachments.judgement import TIMED_OUT, Failed, too_large

CHUNK = 1 << 18

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KERNEL = ("proc", "sys", "dev")
_LATER = frozenset({errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM})


def read(
    location: str, bases: Sequence[Path], *, most: int, spool: Path, is_late: Callable[[], bool]
) -> Held | Failed:
    """The content of a regular file; blocks, so it is called in a thread. `is_late` is asked between reads."""
    if failed := outside(location, bases):
        return failed
    failed = Failed("no such file")
    for base, parts in _places(location, bases):
        try:
            with _opened(base, parts) as fd:
                return _content(fd, most, spool, is_late)
        except FileNotFoundError:
            continue
        except OSError as error:
            failed = _failure(error)
    return failed


def _places(location: str, bases: Sequence[Path]) -> list[tuple[Path, list[str]]]:
    """Every base that may hold the location, with the components below it."""
    parts = [part for part in location.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or "\0" in location:
        return []
    found = []
    for base in map(Path.absolute, bases):
        if not location.startswith("/"):
            found.append((base, parts))
        else:
            for start in dict.fromkeys((base, base.resolve())):
                above = list(start.parts[1:])
                if parts[: len(above)] == above and len(parts) > len(above):
                    found.append((base, parts[len(above) :]))
    return [(base, below) for base, below in found if [*base.parts[1:], *below][0] not in _KERNEL]


def outside(location: str, bases: Sequence[Path]) -> Failed | None:
    """Why a path is nowhere below the bases, as it is written."""
    if _places(location, bases):
        return None
    if not bases and not location.startswith("/"):
        return Failed(
            f"path_not_allowed: Relative path '{location}' not allowed without base_dir configuration"
        )
    return Failed("path_not_allowed: it is not below a folder of GMP_ATTACHMENT_BASE_DIR")


@contextlib.contextmanager
def _opened(base: Path, parts: Sequence[str]) -> Iterator[int]:
    fd = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for number, part in enumerate(parts):
            flags = _FILE if number == len(parts) - 1 else _FOLDER
            below = os.open(part, flags, dir_fd=fd)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def _content(fd: int, most: int, spool: Path, is_late: Callable[[], bool]) -> Held | Failed:
    """What is judged is what was opened: the name may lead elsewhere by now."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        return Failed("path_not_allowed: it is not a regular file")
    if found.st_nlink > 1:
        return Failed("path_not_allowed: the file has other names (hard links)")
    if found.st_size > most:
        return too_large(most)
    incoming = Incoming(spool)
    while octets := os.read(fd, min(CHUNK, most - incoming.size + 1)):
        if incoming.size + len(octets) > most:
            return too_large(most)
        if is_late():
            return TIMED_OUT
        incoming.take(octets)
    return incoming.held()


def _failure(error: OSError) -> Failed:
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ENAMETOOLONG):
        return Failed("path_not_allowed: it leads over a link, or over something that is no folder")
    cause = error.strerror or type(error).__name__
    return Failed(cause, temporary=error.errno in _LATER or error.errno == errno.ENOSPC)
