"""When mail is not accepted: a tenant's quota is used up, or the disk is nearly full (RELIABILITY A6)."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from mailproxy.config import Settings
from mailproxy.errors import QuotaExceeded, StorageUnavailable
from mailproxy.model import Instant, Seconds, TenantPk
from mailproxy.store import Queue

_COUNT_LASTS: Seconds = 5.0
_FULL_LASTS: Seconds = 1.0
_DISK_LASTS: Seconds = 1.0


@dataclass(slots=True)
class Count:
    """How many messages of a tenant waited at `counted_at`, and how many were accepted here since."""

    waiting: int
    counted_at: Instant
    added: int = 0


def trusted(count: Count | None, more: int, quota: int, now: Instant) -> bool:
    """Whether `more` messages may be judged by this count: it is fresh, and far enough from the quota that
    what other processes accept meanwhile cannot matter much."""
    if count is None or now - count.counted_at >= _COUNT_LASTS:
        return False
    if count.waiting >= quota:
        return now - count.counted_at < _FULL_LASTS
    return count.added + more <= (quota - count.waiting) // 4


class Intake:
    """Decides for each call; counts are cached, as counting a long queue costs as much as reading it."""

    def __init__(self, settings: Settings, queue: Queue) -> None:
        self._queue = queue
        self._quota = settings.max_queued_per_tenant
        self._min_free = settings.min_free_disk_mb * 1024 * 1024
        self._disk = data_directory(settings)
        self._counts: dict[TenantPk, Count] = {}
        self._free: tuple[Instant, int | None] = (float("-inf"), None)

    async def admit(self, tenant: TenantPk, more: int) -> None:
        """Raises StorageUnavailable or QuotaExceeded unless `more` messages of the tenant fit."""
        now = time.monotonic()
        if (free := self.free_disk(now)) is not None and free < self._min_free:
            detail = "The disk is nearly full: nothing is accepted"
            raise StorageUnavailable(detail, code="disk_full", retry_after=30.0)
        count = self._counts.get(tenant)
        if count is None or not trusted(count, more, self._quota, now):
            count = Count(await self._queue.queued(tenant, self._quota), now)
            self._counts[tenant] = count
        if count.waiting + count.added + more > self._quota:
            detail = f"The tenant has {count.waiting} messages waiting, at most {self._quota} may"
            raise QuotaExceeded(detail)

    def accepted(self, tenant: TenantPk, more: int) -> None:
        if count := self._counts.get(tenant):
            count.added += more

    def free_disk(self, now: Instant) -> int | None:
        """Free octets where this node writes; None when that cannot be told."""
        if now - self._free[0] >= _DISK_LASTS:
            self._free = (now, free_octets(self._disk))
        return self._free[1]

    @property
    def disk_problem(self) -> str | None:
        free = self.free_disk(time.monotonic())
        if free is None or free >= self._min_free:
            return None
        return f"{free >> 20} MB free below {self._disk}, {self._min_free >> 20} MB are kept"


def data_directory(settings: Settings) -> Path:
    """Where this node writes: the directory of the SQLite file, else its state directory."""
    path = settings.database.path
    return path.absolute().parent if path is not None else settings.state_dir


def free_octets(directory: Path) -> int | None:
    """Of the file system the directory is, or will be, on."""
    for place in (directory, *directory.parents):
        try:
            found = os.statvfs(place)
        except OSError:
            continue
        return found.f_bavail * found.f_frsize
    return None
