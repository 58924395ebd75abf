"""A real `mail-proxy serve` as a child: the same supervisor, gunicorn and senders as in production."""

import asyncio
import base64
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mailproxy.demo.client import Client
from mailproxy.errors import MailproxyError
from mailproxy.model import Seconds

START_PATIENCE: Seconds = 30.0
STOP_PATIENCE: Seconds = 10.0
_LOOK_AGAIN: Seconds = 0.02
_PASSED_ON = ("PATH", "PYTHONPATH", "HOME", "LANG", "VIRTUAL_ENV")


class ServiceFailed(MailproxyError):
    """The server did not start, or ended by itself."""


class Service:
    """A server on a free loopback port, all its files in `folder`, SQLite unless `database_url` is given.

    `settings` are further GMP_ variables.
    """

    def __init__(
        self, folder: Path, *, database_url: str | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self.token = secrets.token_urlsafe(24)
        self.url = ""
        self.log = folder / "server.log"
        self.database = folder / "mail.db"
        self._environ = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {
            "TMPDIR": str(folder),
            "GMP_API_TOKEN": self.token,
            "MAIL_PROXY_ENCRYPTION_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "GMP_STATE_DIR": str(folder / "state"),
            "GMP_LOG_FORMAT": "json",
            "GMP_DRAIN_SECONDS": "5",
            "GMP_EGRESS_ALLOW": "127.0.0.0/8",  # its tenants' servers are here, too
            **({"GMP_DATABASE_URL": database_url} if database_url else {"GMP_DB_PATH": str(self.database)}),
            **(settings or {}),
        }
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Self:
        with self.log.open("wb") as log:
            # A session of its own: a Ctrl-C at the terminal is ours, and one signal reaches whatever is left.
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "mailproxy.cli", "serve", "--host", "127.0.0.1", "--port", "0"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ,
                cwd=self.log.parent,
                start_new_session=True,
            )
        try:
            await self._until_ready()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def client(self, token: str | None = None) -> Client:
        """For the admin, or for whoever has `token`."""
        return Client(self.url, token or self.token)

    def events(self) -> Iterator[Mapping[str, Any]]:
        """The log so far; lines that are not JSON are left out."""
        for line in self.log.read_text(errors="replace").splitlines():
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    yield event

    def last_lines(self, count: int = 20) -> list[str]:
        """The end of the log for people: JSON lines as words, of a traceback only what was raised."""
        return [_readable(line) for line in self.log.read_text(errors="replace").splitlines()[-count:]]

    async def _until_ready(self) -> None:
        deadline = time.monotonic() + START_PATIENCE
        while not await self._is_ready():
            assert self._process is not None
            if self._process.returncode is not None:
                raise ServiceFailed(f"The server ended with code {self._process.returncode}")
            if time.monotonic() > deadline:
                raise ServiceFailed(f"The server was not ready after {START_PATIENCE:g} s")
            await asyncio.sleep(_LOOK_AGAIN)

    async def _is_ready(self) -> bool:
        ports = [event["port"] for event in self.events() if event.get("event") == "listening"]
        if not ports:
            return False
        self.url = f"http://127.0.0.1:{ports[0]}"
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            async with asyncio.timeout(1.0), self.client() as client:
                status, _ = await client.send(client.request("GET", "/readyz"))
                return status == 200
        return False

    async def _stop(self) -> None:
        """In order if it can be; whatever is left of its session afterwards is killed."""
        process = self._process
        assert process is not None
        try:
            with suppress(ProcessLookupError, TimeoutError):
                process.terminate()
                async with asyncio.timeout(STOP_PATIENCE):
                    await process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _readable(line: str) -> str:
    try:
        event = dict(json.loads(line))
    except ValueError:
        return line
    first = [str(event.pop(name, "")) for name in ("ts", "level", "event")]
    if raised := str(event.get("exception", "")).strip(" \n+-|").splitlines():
        event["exception"] = raised[-1].strip(" |")
    return " ".join([*first, *(f"{name}={value}" for name, value in event.items())])
