"""Sources by content: what is cached is not fetched, and what is being fetched is not fetched twice."""

import asyncio
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass

from mailproxy import metrics
from mailproxy.attachments.cache import Cache, Disk, Kept, Memory, Wanted
from mailproxy.attachments.fetch import MEGABYTE, Fetcher, Home, fetcher_of
from mailproxy.attachments.held import Held
from mailproxy.attachments.judgement import Failed
from mailproxy.config import Settings
from mailproxy.model import FetchMode, Instant, Source

THREADS = 2


@dataclass(frozen=True, slots=True)
class Flight:
    """A fetch under way, begun after every message accepted up to `horizon` was."""

    task: "asyncio.Task[Held | Failed]"
    horizon: Instant


class Sources:
    """A process's way to content; `instance` keeps installations that share a disk cache apart."""

    def __init__(self, fetcher: Fetcher, cache: Cache, instance: int) -> None:
        self._fetcher = fetcher
        self._cache = cache
        self._instance = instance
        self._horizon = 0.0
        self._flights: dict[str, Flight] = {}

    async def get(self, source: Source, home: Home, media_type: str | None, wanted: Wanted) -> Held | Failed:
        """The content of a source for one message; a file of this machine is read each time."""
        self._horizon = max(self._horizon, wanted.accepted_at)
        if source.mode is FetchMode.FILESYSTEM:
            return await self._fetched(source, home, media_type)
        key = self._key(source, home, media_type)
        found = await self._cache.get(key, wanted)
        metrics.cache(is_hit=found is not None)
        if found is not None:
            return found
        flight = self._flights.get(key)
        if flight is None or wanted.accepted_at > flight.horizon:
            flight = self._begun(key, source, home, media_type)
        return await asyncio.shield(flight.task)

    async def aclose(self) -> None:
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._cache.threads.shutdown(wait=False, cancel_futures=True)
        await self._fetcher.aclose()

    def _begun(self, key: str, source: Source, home: Home, media_type: str | None) -> Flight:
        horizon = self._horizon
        flight = Flight(asyncio.create_task(self._fetch(key, source, home, media_type, horizon)), horizon)
        self._flights[key] = flight

        def landed(task: "asyncio.Task[Held | Failed]") -> None:
            if self._flights.get(key) is flight:
                del self._flights[key]
            if not task.cancelled():
                task.exception()

        flight.task.add_done_callback(landed)
        return flight

    async def _fetch(
        self, key: str, source: Source, home: Home, media_type: str | None, horizon: Instant
    ) -> Held | Failed:
        found = await self._fetched(source, home, media_type)
        if isinstance(found, Held):
            await self._cache.put(key, Kept(found, horizon))
        return found

    async def _fetched(self, source: Source, home: Home, media_type: str | None) -> Held | Failed:
        found = await self._fetcher.fetch(source, home, media_type)
        if isinstance(found, Held):
            metrics.attachment_bytes(source.mode, found.size)
        return found

    def _key(self, source: Source, home: Home, media_type: str | None) -> str:
        auth = None if source.auth is None else astuple(source.auth)
        asked = home.url if source.mode is FetchMode.ENDPOINT else None
        parts = [self._instance, home.tenant, source.mode, asked, source.location, auth, media_type]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def sources_of(settings: Settings, instance: int) -> Sources:
    fetcher = fetcher_of(settings)
    memory = Memory(int(settings.cache_memory_max_mb * MEGABYTE), settings.cache_memory_ttl_seconds)
    disk = None
    if settings.cache_disk_dir is not None:
        most = int(settings.cache_disk_max_mb * MEGABYTE)
        disk = Disk(settings.cache_disk_dir, most, settings.cache_disk_ttl_seconds, fetcher.spool)
    threads = ThreadPoolExecutor(THREADS, thread_name_prefix="cache")
    return Sources(
        fetcher, Cache(memory, disk, int(settings.cache_disk_threshold_kb * 1024), threads), instance
    )
