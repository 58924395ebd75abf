"""A queue of processes before SQLite's write lock, whose own waits sleep up to 100 ms and let others barge in."""

import fcntl
import os
import time
from pathlib import Path

from mailproxy.model import Seconds

POLL: Seconds = 0.0005


class Turn:
    """Two locked files beside the database: whoever waits for `turn` holds `next`, so nobody can slip past."""

    def __init__(self, database: Path, patience: Seconds) -> None:
        self._patience = patience
        self._next, self._turn = (
            os.open(f"{database}-{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            for name in ("next", "turn")
        )

    def take(self) -> bool:
        """False when it does not come within `patience` seconds."""
        deadline = time.monotonic() + self._patience
        if not _locked(self._next, deadline):
            return False
        try:
            return _locked(self._turn, deadline)
        finally:
            fcntl.flock(self._next, fcntl.LOCK_UN)

    def give(self) -> None:
        fcntl.flock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._next)
        os.close(self._turn)


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
