"""The composition root of an API process: gunicorn calls `create`, the lifespan opens and closes the store."""

import asyncio
import os
import secrets
from contextlib import suppress

from starlette.types import ASGIApp, Receive, Scope, Send

from mailproxy import config, keyfile, log, metrics
from mailproxy.api import answers
from mailproxy.api.app import build
from mailproxy.api.exchange import Exchange
from mailproxy.attendance import attend
from mailproxy.config import Settings
from mailproxy.errors import ConfigurationError, StorageUnavailable
from mailproxy.model import Seconds
from mailproxy.store import Store
from sql.open import open_store

_RETRY: Seconds = 1.0

logger = log.get(__name__)


def create() -> ASGIApp:
    """The application of this process, configured by its environment."""
    settings = config.load(os.environ)
    log.set_up(settings.log_level, settings.log_format, delivery_activity=settings.log_delivery_activity)
    node = keyfile.node_id(settings)
    log.bind(role="api", node=node)
    metrics.set_up(settings.state_dir / "metrics", "api", tenant_label=settings.metrics_tenant_label)
    return Process(settings, node)


class Process:
    """Serves once the store is open; until then every request but the life probes is answered 503."""

    def __init__(self, settings: Settings, node: str) -> None:
        self._settings = settings
        self._node = node
        self._store: Store | None = None
        self._app: ASGIApp = Exchange(_closed)
        self._aside: list[asyncio.Task[None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._open()
        except StorageUnavailable as problem:
            logger.warning("the database is not available", reason=problem.detail)
            self._aside.append(asyncio.create_task(self._open_later()))
        except ConfigurationError as problem:
            await send({"type": "lifespan.startup.failed", "message": problem.detail})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._end_what_is_aside()
        if self._store is not None:
            await self._store.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _open(self) -> None:
        self._store = await open_store(self._settings, role="api")
        self._app = build(self._settings, self._store, node=self._node)
        owner = f"{self._node}/api.{os.getpid()}#{secrets.token_hex(4)}"
        beat = self._settings.lease_seconds / 3
        known = attend(self._store.fleet, owner, self._node, "api", every=beat)
        self._aside.append(asyncio.create_task(known))

    async def _open_later(self) -> None:
        while self._store is None:
            await asyncio.sleep(_RETRY)
            with suppress(StorageUnavailable):
                await self._open()

    async def _end_what_is_aside(self) -> None:
        for task in self._aside:
            task.cancel()
        await asyncio.gather(*self._aside, return_exceptions=True)


async def _closed(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] in ("/health", "/livez"):
        await answers.Json({"ok": True, "status": "ok"})(scope, receive, send)
        return
    raise StorageUnavailable("The database is not available")
