"""Where commands are carried out: by an instance's own API in this process, or by a server somewhere else.

Commands speak to both through the same client. What needs an instance's files or database asks for `instance`,
which a server somewhere else has not got.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import SecretStr

from mailproxy import log, tokens
from mailproxy.cli import process
from mailproxy.cli.exits import Exit, Failure
from mailproxy.cli.home import Instance
from mailproxy.client import (
    ApiError,
    AsyncMailProxyClient,
    ClientError,
    MailProxyClient,
    Patience,
    Unreachable,
    drivers,
)
from mailproxy.config import Settings
from mailproxy.errors import ConfigurationError
from mailproxy.store import Store
from sql.open import open_store

T = TypeVar("T")
Work = Callable[[AsyncMailProxyClient], Coroutine[Any, Any, T]]

_ONCE = Patience(attempts=1)
_A_WHILE = Patience(attempts=3)
_BY_STATUS = {
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    502: Exit.UNREACHABLE,
    503: Exit.UNREACHABLE,
    504: Exit.UNREACHABLE,
}


class Server(ABC):
    """What the two kinds of servers have in common; commands for it begin with `words`."""

    @property
    @abstractmethod
    def name(self) -> str: ...

    @property
    @abstractmethod
    def words(self) -> str: ...

    @property
    @abstractmethod
    def instance(self) -> Instance:
        """The instance of this machine; raises Failure where there is none."""

    @property
    @abstractmethod
    def is_running(self) -> bool: ...

    def require_running(self) -> None:
        if not self.is_running:
            raise self.not_running()

    def not_running(self) -> Failure:
        return Failure(
            f"{self.name} is not running.", remedy=f"Start it with: mail-proxy start {self.name} -b"
        )

    @abstractmethod
    def client(self, token: str | None) -> MailProxyClient:
        """A client over HTTP, with the server's own token unless another is given."""

    @abstractmethod
    async def _connected(self, work: Work[T], tenant_id: str | None) -> T: ...

    def do(self, work: Work[T], tenant_id: str | None = None) -> T:
        """Do `work` with a client for the admin, or whose token it is; for the tenant, where one is named."""
        try:
            return asyncio.run(self._connected(work, tenant_id))
        except ClientError as error:
            raise self.failure(error) from error

    def failure(self, error: ClientError) -> Failure:
        """How a command ends that the server would not, or could not, carry out."""
        if isinstance(error, ApiError):
            refused = Exit.FAILED if error.status >= 500 else Exit.REFUSED
            return Failure(f"{error.text}.", _BY_STATUS.get(error.status, refused))
        code = Exit.UNREACHABLE if isinstance(error, Unreachable) else Exit.FAILED
        return Failure(f"{self.name}: {error}", code)


@dataclass(frozen=True, slots=True)
class Local(Server):
    """An instance of this machine, running or not: its API is called in this process, on its database."""

    here: Instance

    @property
    def name(self) -> str:
        return self.here.name

    @property
    def words(self) -> str:
        return f"mail-proxy {self.here.name}"

    @property
    def instance(self) -> Instance:
        return self.here

    @property
    def is_running(self) -> bool:
        return process.running(self.here) is not None

    def client(self, token: str | None) -> MailProxyClient:
        server = process.running(self.here)
        if server is None:
            raise self.not_running()
        admin = self.here.settings().api_token
        own = admin.get_secret_value() if admin else None
        return MailProxyClient(server.url, token or own, patience=_ONCE)

    async def _connected(self, work: Work[T], tenant_id: str | None) -> T:
        from mailproxy.api.app import build  # noqa: PLC0415 a server that is asked or started needs none of it

        log.hand_on()
        token = tokens.new_secret()
        settings = self.here.settings().model_copy(update={"api_token": SecretStr(token)})

        async def on(store: Store) -> T:
            async with AsyncMailProxyClient(
                token=token,
                tenant_id=tenant_id,
                patience=_ONCE,
                transport=drivers.to_application(build(settings, store)),
            ) as client:
                return await work(client)

        return await _with_store(settings, on)


@dataclass(frozen=True, slots=True)
class Remote(Server):
    """A server that is reached over HTTP, with whatever its token allows."""

    url: str
    token: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.url

    @property
    def words(self) -> str:
        return f"mail-proxy --url {self.url}"

    @property
    def instance(self) -> Instance:
        raise Failure(
            "This works on an instance of this machine only: it needs the instance's files or database.",
            Exit.REFUSED,
        )

    @property
    def is_running(self) -> bool:
        return True

    def client(self, token: str | None) -> MailProxyClient:
        return MailProxyClient(self.url, self.token or token, patience=_ONCE)

    async def _connected(self, work: Work[T], tenant_id: str | None) -> T:
        async with AsyncMailProxyClient(
            self.url, self.token, tenant_id=tenant_id, patience=_A_WHILE
        ) as client:
            return await work(client)


def on_store(settings: Settings, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
    """Open the store, do `work`, close it."""
    return asyncio.run(_with_store(settings, work))


async def _with_store(settings: Settings, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
    try:
        store = await open_store(settings, role="cli")
    except ConfigurationError as error:
        raise Failure(f"{settings.database.label}: {error.detail}", Exit.UNREACHABLE) from error
    try:
        return await work(store)
    finally:
        await store.aclose()
