"""Datagrams to Unix sockets beside the database: each listener has one, an announcer writes to all.

A folder that cannot be used only means that there are no hints, which is said once: whoever waits polls as well.
"""

import asyncio
import contextlib
import hashlib
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mailproxy import log
from sql.coalesce import Coalesced

LONGEST_ADDRESS = 107
_NAME_LENGTH = len("/4194304.01234567")
_ATTEMPTS = 3

_log = log.get(__name__)


class SqliteWakeups:
    def __init__(self, database: Path) -> None:
        self._folder = folder_for(database)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._announcer = Coalesced(self._send)
        self._has_complained = False

    async def announce(self, topic: str = "queue") -> None:
        self._announcer.ask(topic)

    async def aclose(self) -> None:
        try:
            await self._announcer.aclose()
        finally:
            self._socket.close()

    async def _send(self, topic: str) -> None:
        try:
            _require_ours(self._folder)
            entries = list(self._folder.iterdir())
        except FileNotFoundError:
            return
        except OSError as error:
            self._complain(error)
            return
        for entry in entries:
            self._send_to(entry, topic)

    def _send_to(self, entry: Path, topic: str) -> None:
        with contextlib.suppress(OSError):
            try:
                self._socket.sendto(topic.encode(), str(entry))
            except ConnectionRefusedError:
                entry.unlink(missing_ok=True)

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[AsyncIterator[str]]:
        path = self._folder / f"{os.getpid()}.{os.urandom(4).hex()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
            heard.setblocking(False)
            try:
                self._bind(heard, path)
            except OSError as error:
                self._complain(error)
                yield _silence()
                return
            try:
                yield _topics(heard)
            finally:
                with contextlib.suppress(OSError):
                    path.unlink()
                    self._folder.rmdir()

    def _bind(self, heard: socket.socket, path: Path) -> None:
        """The last listener that leaves takes the folder along, which may happen between our two steps."""
        for attempt in range(_ATTEMPTS):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                _require_ours(self._folder)
                heard.bind(str(path))
            except FileNotFoundError:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    def _complain(self, error: OSError) -> None:
        if not self._has_complained:
            _log.warning("no_hints", folder=str(self._folder), error=str(error))
        self._has_complained = True


def folder_for(database: Path) -> Path:
    """In the state folder beside the database; where that makes too long an address, below the temporary one."""
    path = database.resolve()
    folder = path.with_name(f"{path.name}.state") / "wake"
    if len(os.fsencode(folder)) + _NAME_LENGTH <= LONGEST_ADDRESS:
        return folder
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"mailproxy-{os.getuid()}-{digest}"


def _require_ours(folder: Path) -> None:
    """Anybody may have made a folder of a name that can be guessed; root's own business is with everybody's."""
    owner = folder.lstat().st_uid
    if os.geteuid() not in (0, owner) or folder.is_symlink():
        raise PermissionError(f"{folder} belongs to another user")


async def _topics(heard: socket.socket) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    while True:
        yield (await loop.sock_recv(heard, 64)).decode()


async def _silence() -> AsyncIterator[str]:
    await asyncio.get_running_loop().create_future()
    yield "never"
