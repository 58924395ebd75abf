"""gunicorn's side: the worker class and the logger, in its master and in the workers that are forked from it."""

import asyncio
import contextlib
import gc
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from uvicorn import Config, Server
from uvicorn_worker import UvicornWorker

import mailproxy.api.asgi  # noqa: F401 what the workers run is read before they are forked
from mailproxy import config, log
from mailproxy.api.connection import BoundedProtocol
from mailproxy.model import Seconds
from sql.open import warm


class Leaving(Server):
    """Takes in everybody who has connected before it stops listening: the kernel would reset them."""

    def __init__(self, config: Config, listeners: Sequence[socket.socket]) -> None:
        super().__init__(config)
        self._listeners = listeners

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                for _ in range(self.config.backlog):
                    connection, _ = listener.accept()
                    connection.setblocking(False)
                    await asyncio.get_running_loop().connect_accepted_socket(self._connection, connection)
            listener.close()
        await super().shutdown(sockets)

    def _connection(self) -> asyncio.Protocol:
        return BoundedProtocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


class Worker(UvicornWorker):  # type: ignore[misc]  # gunicorn is untyped
    """Serves until told to stop, or until gunicorn's master is gone: orphans would keep the port for ever."""

    CONFIG_KWARGS = {  # noqa: RUF012 - the name and type that uvicorn_worker reads
        "loop": "uvloop",
        "http": BoundedProtocol,
        "ws": "none",
        "lifespan": "on",
        "access_log": False,
        "server_header": False,
    }
    orphan_check: Seconds = 0.5

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config.timeout_graceful_shutdown = self.cfg.graceful_timeout
        _warm_the_master()

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        listeners = [listener.sock for listener in self.sockets]
        server = Leaving(self.config, listeners)
        self._install_sigquit_handler()
        watch = asyncio.create_task(self._leave_when_orphaned(server))
        # uvloop closes what it was given.
        await server.serve(sockets=[listener.dup() for listener in listeners])
        watch.cancel()
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    async def _leave_when_orphaned(self, server: Server) -> None:
        while os.getppid() == self.ppid:  # noqa: ASYNC110 - nobody tells a process that its parent is gone
            await asyncio.sleep(self.orphan_check)
        server.should_exit = True


def _warm_the_master() -> None:
    """What a worker needs is there before the fork: its pages are shared by all of them and the master."""
    warm(config.load(os.environ).database)
    gc.collect()
    gc.freeze()


class Lines(Logger):  # type: ignore[misc]  # gunicorn is untyped
    """gunicorn's own lines in the form of all others."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        settings = config.load(os.environ)
        log.set_up(settings.log_level, settings.log_format)
