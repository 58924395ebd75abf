"""A queue of processes before SQLite's write lock, whose own waits sleep up to 100 ms and let others barge in."""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from mailproxy.model import Seconds

POLL: Seconds = 0.0005


class Turn:
    """Two locked files beside the database: whoever waits for `turn` holds `next`, so nobody can slip past."""

    def __init__(self, database: Path, patience: Seconds) -> None:
        self._database = database
        self._patience = patience
        self._files: tuple[int, int] | None = self._opened()

    def take(self) -> bool:
        """False when it does not come within `patience` seconds. After an OSError the next one begins anew."""
        deadline = time.monotonic() + self._patience
        self._files = self._files or self._opened()
        coming, turn = self._files
        try:
            if not _locked(coming, deadline):
                return False
            try:
                return _locked(turn, deadline)
            finally:
                fcntl.flock(coming, fcntl.LOCK_UN)
        except OSError:
            self.close()
            raise

    def give(self) -> None:
        if self._files is None:
            return
        try:
            fcntl.flock(self._files[1], fcntl.LOCK_UN)
        except OSError:
            self.close()

    def close(self) -> None:
        """Closing gives back whatever is still locked."""
        for file in self._files or ():
            with contextlib.suppress(OSError):
                os.close(file)
        self._files = None

    def _opened(self) -> tuple[int, int]:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        coming = os.open(f"{self._database}-next", flags, 0o600)
        try:
            return coming, os.open(f"{self._database}-turn", flags, 0o600)
        except OSError:
            os.close(coming)
            raise


def _locked(file: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL)
        else:
            return True
