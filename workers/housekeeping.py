"""What keeps the database small and the fleet honest; `maintenance.py` says when and by whom."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mailproxy import egress, log, metrics
from mailproxy.attachments import large
from mailproxy.attachments.large_file import LargeFile
from mailproxy.attachments.storage import Object, Storage
from mailproxy.attachments.threads import Room
from mailproxy.config import Settings
from mailproxy.model import EventType, Seconds
from mailproxy.reach import Reach
from mailproxy.store import Store
from mailproxy.vault import VaultError

CHUNK = 1000
MOST_CHUNKS = 200
FILES_AT_ONCE = 100
REMOVE_AGAIN: Seconds = 300.0
LONGEST_PAUSE: Seconds = 86400.0
MOST_REMOVALS = 30
SEEN_FOR: Seconds = 365 * 86400.0
QUARANTINED_FOR: Seconds = 90 * 86400.0
WITHIN: Seconds = 45.0
"""Less than the tick of the chores that wait for others than the database, so that none meets its next run."""

_log = log.get(__name__)

Chore = Callable[[Store, Settings], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A chore and its tick: `every` divides a minute or is a number of minutes that divides an hour."""

    name: str
    every: int
    chore: Chore


async def expire(store: Store, settings: Settings) -> int:
    """Waiting messages past their age end as `expired`."""
    return await in_chunks(lambda: store.directory.expire(limit=CHUNK))


async def clean_up(store: Store, settings: Settings) -> int:
    """What is finished, reported and older than the retention goes away."""
    older_than = settings.delivery_report_retention_seconds
    return await in_chunks(lambda: store.directory.cleanup(None, older_than, limit=CHUNK))


async def tidy(store: Store, settings: Settings) -> int:
    """The queue's table, through which every message passes."""
    await store.upkeep.tidy()
    return 0


async def set_aside(store: Store, settings: Settings) -> int:
    """Reports that failed for too long become dead letters."""

    async def chunk() -> int:
        found = await store.dead_letters.set_aside(settings.report_dead_after, limit=CHUNK)
        for tenant_id, count in found.items():
            _log.warning("reports_set_aside", tenant=tenant_id, count=count)
        return sum(found.values())

    return await in_chunks(chunk)


async def forget_commands(store: Store, settings: Settings) -> int:
    """Entries of the command log that are older than its retention."""
    older_than = settings.command_log_retention_seconds
    return await in_chunks(lambda: store.administration.forget_commands(older_than, limit=CHUNK))


async def forget_answers(store: Store, settings: Settings) -> int:
    """Answers to calls under an idempotency key that were kept long enough."""
    return await in_chunks(lambda: store.queue.forget_answers(limit=CHUNK))


async def forget_seen(store: Store, settings: Settings) -> int:
    """Mails read so long ago that no message they speak of is left."""
    return await in_chunks(lambda: store.inbound.forget_seen(SEEN_FOR, limit=CHUNK))


async def forget_quarantined(store: Store, settings: Settings) -> int:
    """What is kept of mails that could not be read, once somebody has had time to look."""
    return await in_chunks(lambda: store.inbound.forget_quarantined(QUARANTINED_FOR, limit=CHUNK))


async def forget_suppressions(store: Store, settings: Settings) -> int:
    """Suppressions whose time has passed; they count as none already."""
    return await in_chunks(lambda: store.suppressions.forget(limit=CHUNK))


async def forget_contents(store: Store, settings: Settings) -> int:
    """Long content that came with messages which are gone."""
    return await in_chunks(lambda: store.contents.forget(limit=FILES_AT_ONCE), FILES_AT_ONCE)


async def remove_large_files(store: Store, settings: Settings) -> int:
    """Files behind links that have ended; what cannot be removed now is tried again, less and less often."""
    within = settings.attachment_timeout
    reach = Reach(egress.allowed(settings.egress_allow))
    storage = Storage(settings.large_file_base_dir, within, reach, Room(patience=within))
    hanging: set[str] = set()

    async def chunk() -> int:
        found = await store.large_files.expired(limit=FILES_AT_ONCE)
        done = await asyncio.gather(*(_removed(store, storage, file, hanging) for file in found))
        await store.large_files.forget([name for name in done if name is not None])
        return len(found)

    try:
        return await in_chunks(chunk, FILES_AT_ONCE)
    finally:
        storage.close()


async def _removed(store: Store, storage: Storage, file: LargeFile, hanging: set[str]) -> str | None:
    """The name of a file that may be forgotten. Places found `hanging` are left alone until another run."""
    where = file.place.to_json()
    if where in hanging:
        await store.large_files.put_off(file.object, REMOVE_AGAIN, tried=False)
        return None
    try:
        tenant = await store.directory.tenant(file.tenant_id)
    except VaultError as e:
        _log.warning("large_file_not_removed", object=file.object, place=file.place.url, error=e.detail)
        await store.large_files.put_off(file.object, LONGEST_PAUSE, tried=False)
        return None
    target = Object(file.place, file.object)
    if tenant is not None and tenant.pk == file.tenant_pk:
        place, secrets = large.reached(file.place, tenant.large_file_config, tenant.large_file_secrets)
        target = Object(place, file.object, secrets)
    failed = await storage.remove(target)
    if failed is None:
        metrics.large_files("removed")
        return file.object
    if not failed.tried:
        hanging.add(where)
        await store.large_files.put_off(file.object, REMOVE_AGAIN, tried=False)
        return None
    if file.tries >= MOST_REMOVALS:
        _log.error("large_file_left_behind", object=file.object, place=file.place.url, error=failed.cause)
        return file.object
    _log.warning("large_file_not_removed", object=file.object, place=file.place.url, error=failed.cause)
    await store.large_files.put_off(file.object, min(REMOVE_AGAIN * 2**file.tries, LONGEST_PAUSE))
    return None


async def forget_dead(store: Store, settings: Settings) -> int:
    """Processes that are long silent are declared dead; one that still lives finds out at its next beat."""
    return await store.fleet.forget_dead(silence(settings))


async def miss_acceptances(store: Store, settings: Settings) -> int:
    """Certified mail whose acceptance does not come is told of once."""

    async def chunk() -> int:
        looked, missed = await store.certified.miss(settings.pec_acceptance_timeout, limit=CHUNK)
        metrics.pec_events(EventType.PEC_TIMEOUT.value).inc(missed)
        return looked

    return await in_chunks(chunk)


async def forget_receipts(store: Store, settings: Settings) -> int:
    """Receipts of certified mail that were kept for their time."""
    older_than = settings.pec_receipt_retention_seconds
    return await in_chunks(lambda: store.certified.forget_receipts(older_than, limit=CHUNK))


def silence(settings: Settings) -> Seconds:
    return max(60.0, 4 * settings.lease_seconds)


async def in_chunks(chunk: Callable[[], Awaitable[int]], size: int = CHUNK, within: Seconds = WITHIN) -> int:
    """Each chunk is a transaction of its own; what is left after the last one or `within` is the next tick's."""
    done = 0
    deadline = asyncio.timeout(within)
    try:
        async with deadline:
            for _ in range(MOST_CHUNKS):
                count = await chunk()
                done += count
                if count < size or deadline.expired():
                    break
    except TimeoutError:
        if not deadline.expired():
            raise
    return done


SCHEDULE = (
    Scheduled("expire", 10, expire),
    Scheduled("tidy", 10, tidy),
    Scheduled("forget_dead", 30, forget_dead),
    Scheduled("set_aside", 30, set_aside),
    Scheduled("miss_acceptances", 15, miss_acceptances),
    Scheduled("clean_up", 60, clean_up),
    Scheduled("remove_large_files", 60, remove_large_files),
    Scheduled("forget_contents", 60, forget_contents),
    Scheduled("forget_answers", 600, forget_answers),
    Scheduled("forget_receipts", 600, forget_receipts),
    Scheduled("forget_commands", 600, forget_commands),
    Scheduled("forget_suppressions", 600, forget_suppressions),
    Scheduled("forget_seen", 600, forget_seen),
    Scheduled("forget_quarantined", 600, forget_quarantined),
)
