"""The root process of the service: it binds the socket, starts everything else, and outlives it."""

import contextlib
import errno
import gc
import os
import signal
import socket
from collections.abc import Callable, Iterator

from mailproxy import log
from mailproxy.config import Settings
from supervisor.arbiter import Arbiter
from supervisor.child import Program
from supervisor.notify import service_manager
from supervisor.plan import Pace, RoleSet
from workers.frame import MISCONFIGURED, TRY_AGAIN

HEEDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
BACKLOG = 2048

_log = log.get(__name__)


def run(
    settings: Settings,
    roles: RoleSet,
    api: Program | None,
    *,
    node: str,
    reload: Callable[[], Settings],
    pace: Pace | None = None,
) -> int:
    """Serve until a signal ends it; the exit code of the service.

    `api` serves the API in a process of its own; None: workers only.
    SIGHUP calls `reload` for new settings (host and port stay as they are). Called from the main thread of a
    process that has imported what workers need, and has no other thread, event loop or open connection.
    """
    manager = service_manager(os.environ)
    try:
        listener = _bind(settings.host, settings.port) if api else None
    except OSError as error:
        _log.error("cannot_listen", host=settings.host, port=settings.port, error=str(error))
        return TRY_AGAIN if error.errno == errno.EADDRINUSE else MISCONFIGURED
    with contextlib.ExitStack() as stack:
        own = [stack.enter_context(listener)] if listener else []
        noted, note = (stack.enter_context(end) for end in socket.socketpair())
        stack.enter_context(_signals_noted(note))
        gc.collect()
        gc.freeze()
        stack.callback(gc.unfreeze)
        pace = pace or Pace()
        arbiter = Arbiter(settings, node, roles, noted, [note, *own], listener, api, reload, pace, manager)
        code = arbiter.run()
    _log.info("stopped", code=code)
    return code


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    _log.info("listening", host=host, port=listener.getsockname()[1])
    return listener


@contextlib.contextmanager
def _signals_noted(note: socket.socket) -> Iterator[None]:
    """While inside, the numbers of heeded signals arrive as bytes at the other end of `note`."""
    note.setblocking(False)
    before = {number: signal.signal(number, _note_only) for number in HEEDED}
    wakeup = signal.set_wakeup_fd(note.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, heed in before.items():
            signal.signal(number, heed)


def _note_only(number: int, frame: object) -> None:
    """Python has written the number to the wake-up socket already."""
