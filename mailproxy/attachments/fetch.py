"""Fetching: a source becomes content at hand, or the reason why it does not."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mailproxy import egress
from mailproxy.attachments import files, judgement
from mailproxy.attachments.held import Held
from mailproxy.attachments.judgement import Failed
from mailproxy.attachments.remote import Remote
from mailproxy.authorization import ClientAuth
from mailproxy.config import Settings
from mailproxy.model import FetchMode, Seconds, Source, TenantPk
from mailproxy.reach import Reach, Resolver, ask_system
from mailproxy.records import Tenant
from mailproxy.web import Web

DEFAULT_PATH = "/mail-proxy/attachments"
MEGABYTE = 1 << 20
READERS = 4
CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Home:
    """Where a tenant's own files are, and how it wants to be asked. `url` None: it has said nothing."""

    tenant: TenantPk
    url: str | None
    auth: ClientAuth
    guarded: bool


def home_of(tenant: Tenant, base_url: str | None) -> Home:
    """A tenant without an address of its own is asked at `base_url`, which is the operator's, without a login."""
    path = (tenant.client_attachment_path or DEFAULT_PATH).lstrip("/")
    if tenant.client_base_url is None:
        url = None if base_url is None else f"{base_url.rstrip('/')}/{path}"
        return Home(tenant.pk, url, ClientAuth(), guarded=False)
    url = f"{tenant.client_base_url.rstrip('/')}/{path}"
    return Home(tenant.pk, url, tenant.client_auth, tenant.url_set_by_tenant)


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches within `within` seconds, however the source behaves; made by `fetcher_of`."""

    remote: Remote
    bases: Sequence[Path]
    readers: ThreadPoolExecutor
    within: Seconds
    most: int
    spool: Path

    async def fetch(self, source: Source, home: Home, media_type: str | None) -> Held | Failed:
        try:
            match source.mode:
                case FetchMode.FILESYSTEM:
                    return await self._from_file(source.location)
                case FetchMode.HTTP_URL:
                    return await self.remote.from_url(source.location, source.auth, media_type)
                case _:
                    return await self._from_endpoint(source, home)
        except OSError as error:
            return Failed(f"cannot be kept: {error.strerror or error}", temporary=True)

    async def aclose(self) -> None:
        self.readers.shutdown(wait=False, cancel_futures=True)
        await self.remote.targets.aclose()
        await self.remote.urls.aclose()

    async def _from_endpoint(self, source: Source, home: Home) -> Held | Failed:
        if home.url is None:
            return Failed("the tenant has no client_base_url")
        auth = home.auth if source.auth is None else source.auth
        return await self.remote.from_endpoint(home.url, source.location, auth, guarded=home.guarded)

    async def _from_file(self, location: str) -> Held | Failed:
        """A read that hangs keeps its thread, and nobody waits for it longer than for the others."""
        deadline = time.monotonic() + self.within
        reading = asyncio.get_running_loop().run_in_executor(
            self.readers,
            lambda: files.read(
                location,
                self.bases,
                most=self.most,
                spool=self.spool,
                is_late=lambda: time.monotonic() > deadline,
            ),
        )
        try:
            async with asyncio.timeout(self.within):
                return await reading
        except TimeoutError:
            return judgement.TIMED_OUT


def fetcher_of(settings: Settings, *, resolver: Resolver = ask_system) -> Fetcher:
    """A process's fetcher: made where it runs, and closed by `aclose`."""
    within, most = settings.attachment_timeout, settings.max_attachment_mb * MEGABYTE
    spool = settings.state_dir / "spool"
    allow = egress.allowed(settings.fetch_allow)
    connect = min(within, 10.0)
    targets = Web(
        Reach(egress.allowed(settings.egress_allow), resolver), connect=connect, connections=CONNECTIONS
    )
    urls = Web(Reach(allow, resolver), connect=connect, connections=CONNECTIONS, advice=egress.fetch_advice)
    readers = ThreadPoolExecutor(READERS, thread_name_prefix="attachments")
    remote = Remote(targets, urls, allow, within, most, spool)
    return Fetcher(remote, settings.attachment_base_dir, readers, within, most, spool)
