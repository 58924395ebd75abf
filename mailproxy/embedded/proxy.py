"""`MailProxy`: start, command, listen to what becomes of messages, stop."""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Self

from pydantic import SecretStr
from starlette.types import ASGIApp

from mailproxy import config, log
from mailproxy.api.app import build
from mailproxy.config import Settings
from mailproxy.embedded import commands, exchange
from mailproxy.embedded.programs import Programs
from mailproxy.embedded.tail import Tail
from mailproxy.errors import ConfigurationError, StorageUnavailable
from mailproxy.keyfile import key_ring, make_state_folder, node_id
from mailproxy.model import Seconds
from mailproxy.store import Store
from sql.migrate import migrate
from sql.open import open_store
from workers.reporter.callback import told

SHORTEST: Seconds = 0.05
LONGEST: Seconds = 1.0
PAGE = 500

_log = log.get(__name__)


class MailProxy:
    """A service in the caller's event loop, on a database that other services may share.

    Settings are read as for `mail-proxy serve`, or given; the arguments stand above them. With `test_mode`
    nothing is dispatched until the command `run now`; with `start_active=False` sending starts suspended.
    """

    def __init__(
        self,
        db_path: str | None = None,
        *,
        settings: Settings | None = None,
        start_active: bool | None = None,
        test_mode: bool | None = None,
    ) -> None:
        given = {"db_path": db_path, "scheduler_active": start_active, "test_mode": test_mode}
        given = {name: value for name, value in given.items() if value is not None}
        if settings is None:
            settings = config.load(os.environ, overrides=given)
        elif given:
            kept = settings.model_dump(exclude_unset=True, exclude={"database_url"} if db_path else None)
            settings = Settings.model_validate({**kept, **given})
        # Whoever can call us is the administrator: a token of this object alone says so to the API.
        self._token = secrets.token_urlsafe(32)
        self.settings = settings.model_copy(update={"api_token": SecretStr(self._token)})
        self._store: Store | None = None
        self._app: ASGIApp | None = None
        self._programs: Programs | None = None
        self._first = 0
        self._instance = 0
        self._stopped = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Prepare the database and begin to work; raises ConfigurationError or StorageUnavailable."""
        if self._programs is not None:
            raise RuntimeError("This MailProxy was started before: make another one")
        log.hand_on(delivery_activity=self.settings.log_delivery_activity)
        await asyncio.to_thread(_prepare, self.settings)
        store = await open_store(self.settings, role="embedded")
        try:
            if not self.settings.scheduler_active:
                await store.directory.suspend(None, None)
            self._instance = await store.fleet.instance()
            self._first = await store.reports.latest_event()
        except BaseException:
            await store.aclose()
            raise
        node = node_id(self.settings)
        self._store = store
        self._app = build(self.settings, store, node=node)
        self._programs = Programs(self.settings, node)
        self._programs.start()

    async def stop(self) -> None:
        """Drain and end, in at most about `drain_seconds`; what is queued stays so."""
        if self._store is None or self._programs is None:
            return
        store, self._store, self._app = self._store, None, None
        try:
            await self._programs.stop()
        finally:
            self._stopped.set()
            await store.aclose()

    async def handle_command(
        self, name: str, payload: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """What the API's route of that name answers (`commands.COMMANDS`), with `ok`.

        An error is an answer too: `ok` false, `status` and the API's `error`, `code`, `detail`. Under an
        `idempotency_key` add-messages happens once.
        """
        wanted = commands.request(name, payload or {}, idempotency_key)
        if isinstance(wanted, str):
            return exchange.wrong(wanted)
        answer = exchange.told(*await exchange.ask(self._running(), self._token, wanted))
        if name == "run now" and answer["ok"] and self._programs is not None:
            self._programs.look()
        return answer

    async def metrics(self) -> str:
        """This process's metrics in Prometheus' text format."""
        request = commands.Request("GET", "/metrics")
        _, body = await exchange.ask(self._running(), self._token, request)
        return body.decode()

    async def results(self, after: int | None = None) -> AsyncIterator[dict[str, Any]]:
        """What becomes of messages, one item of a delivery report per event, until the proxy has stopped.

        Begins after the event `after`, by default with the first one since `start`; an item's `event_id`
        tells where to go on another time. Whether a tenant gets its reports does not depend on it.
        """
        self._running()
        tail = Tail(self._first if after is None else after)
        store = await open_store(self.settings, role="results")
        pause = SHORTEST
        try:
            while True:
                was_stopped = self._stopped.is_set()
                items = await self._read(store, tail)
                for item in items:
                    yield item
                if was_stopped and not items:
                    return
                pause = SHORTEST if items else min(2 * pause, LONGEST)
                await self._wait(0.0 if items else pause)
        finally:
            await store.aclose()

    async def _read(self, store: Store, tail: Tail) -> list[dict[str, Any]]:
        now = time.monotonic()
        try:
            found = await store.reports.events_after(tail.after, tail.missed(now), limit=PAGE)
        except StorageUnavailable as error:
            _log.warning("results_wait", error=error.detail)
            return []
        tail.take((report.event_id for _, report in found), now)
        return [told(tenant_id, report, self._instance) for tenant_id, report in found]

    async def _wait(self, seconds: Seconds) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()

    def _running(self) -> ASGIApp:
        if self._app is None:
            raise RuntimeError("This MailProxy is not running: await start() first")
        return self._app


def _prepare(settings: Settings) -> None:
    """What `mail-proxy serve` sees to before it starts: sound settings, a key, a current schema."""
    if found := config.problems(settings):
        raise ConfigurationError("The proxy cannot run like this:\n" + "\n".join(found))
    make_state_folder(settings)
    key_ring(settings)
    migrate(settings.database)
