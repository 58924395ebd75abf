"""Between claim and preparation: what a message only refers to is fetched, apart from the account's connections."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import zip_longest

from mailproxy import log, payload
from mailproxy.attachments import judgement
from mailproxy.attachments.cache import Wanted
from mailproxy.attachments.fetch import MEGABYTE, Home, home_of
from mailproxy.attachments.held import IN_MEMORY, Held
from mailproxy.attachments.judgement import Failed
from mailproxy.attachments.sources import sources_of
from mailproxy.config import Settings
from mailproxy.errors import StorageUnavailable
from mailproxy.model import (
    Account,
    Attachment,
    Content,
    Epoch,
    FetchMode,
    MessageId,
    Seconds,
    Source,
    TenantPk,
)
from mailproxy.outcome import Deferred, Refused, Stage, Withheld
from mailproxy.records import Claimed
from mailproxy.shares import Share, Shares
from mailproxy.store import Store
from mailproxy.vault import VaultError
from workers.sender.contents import KeptContents
from workers.sender.large_files import Offload
from workers.sender.prepare import PutOff, Result, Work

SLOTS_PER_TENANT = 3
HOME_KEPT: Seconds = 2.0
PUT_OFF: Seconds = 5.0
_KEPT = frozenset({FetchMode.BASE64})
# The stored text, the same read as JSON, and what it decodes to.
DECODING = 3

_log = log.get(__name__)


class Attachments:
    """What the accounts of a process share: the fetcher, each tenant's places, and how much may be held at once."""

    def __init__(self, store: Store, epoch: Epoch, instance: int, settings: Settings) -> None:
        self._store = store
        self._epoch = epoch
        self._sources = sources_of(settings, instance)
        self._kept = KeptContents(store.contents, settings.state_dir / "spool")
        self._offload = Offload(store, settings)
        self._base_url = settings.attachment_base_url
        self._budget = Shares(settings.attachment_budget_mb * MEGABYTE)
        self._places: dict[tuple[TenantPk, frozenset[FetchMode]], Shares] = {}
        self._homes: dict[TenantPk, tuple[Home, float]] = {}

    async def aclose(self) -> None:
        self._offload.close()
        await self._kept.aclose()
        await self._sources.aclose()

    async def of(self, account: Account, message: Claimed) -> Result:
        """The message with its content, or why it cannot have it now. Whatever upsets it fails this message alone.

        A suspect is waited for by everybody, so it waits for nobody.
        """
        try:
            return await self._at_hand(account, message)
        except StorageUnavailable as e:
            return Withheld(f"its content was not read: {e.detail}")
        except VaultError as e:
            return Deferred(Stage.PREPARE, f"Logins of attachments cannot be opened: {e.detail}")
        except Exception as e:  # noqa: BLE001 - as in `prepare`: a bug must fail this message alone, loudly
            _log.error("cannot_gather", message=message.id, client_id=message.client_id, exc_info=True)
            return Refused(Stage.PREPARE, f"cannot_gather: {type(e).__name__}")

    async def _at_hand(self, account: Account, message: Claimed) -> Result:
        share = self._budget.nothing()
        handed_out: Result | None = None
        try:
            found = await self._decoded(message, share)
            if not isinstance(found, Content):
                return found
            handed_out = await self._gathered(account, message, found, share)
            return handed_out
        finally:
            if not isinstance(handed_out, Work):
                share.give_back()

    async def _decoded(self, message: Claimed, share: Share) -> Content | Withheld | PutOff:
        """A payload that was too long to come with the claim is read when there is room for it, and one with logins,
        which came without their secrets."""
        if not message.left_behind and not payload.may_have_logins(message.payload):
            return payload.decode(message.payload)
        octets = DECODING * message.left_behind
        if octets and not await share.more(octets, at_once=message.suspect):
            return _put_off()
        stored = await self._store.queue.payload(message.id)
        if stored is None:
            return Withheld("the message is gone")
        content = payload.decode(stored)
        if octets:
            share.become(sum(part.size for part in content.attachments))
        return content

    async def _gathered(self, account: Account, message: Claimed, content: Content, share: Share) -> Result:
        """`content` with every attachment at hand: octets of the message, or `Held` of what was fetched, or a link.

        `share` is what the message holds of the budget; it grows with what is fetched.
        """
        modes = frozenset(part.source.mode for part in content.attachments if part.source is not None)
        if not modes:
            return await self._offloaded(account, message, content, share)
        home = None if modes == _KEPT else await self._home(account)
        if isinstance(home, Deferred):
            return home
        # A file does not wait behind an endpoint that hangs.
        places = self._places.setdefault((account.tenant_pk, modes), Shares(SLOTS_PER_TENANT))
        place = await places.take(1, at_once=message.suspect)
        if place is None:
            return _put_off()
        try:
            return await self._brought_together(account, home, message, content, share)
        finally:
            place.give_back()

    async def _brought_together(
        self, account: Account, home: Home | None, message: Claimed, content: Content, share: Share
    ) -> Result:
        known = sum(part.source.size for part in content.attachments if part.source is not None)
        if not await share.more(max(IN_MEMORY, known), at_once=message.suspect):
            return _put_off()
        parts = await self._parts(account.tenant_pk, home, message, content.attachments, share)
        if not isinstance(parts, tuple):
            return parts
        hashes = tuple(map(_fetched_hash, content.attachments, parts))
        if any(hashes) and (changed := await self._held_to_the_first(message, content, hashes)):
            return changed
        return await self._offloaded(account, message, replace(content, attachments=parts), share)

    async def _offloaded(self, account: Account, message: Claimed, content: Content, share: Share) -> Result:
        sent = await self._offload.of(account, message, content)
        if sent is None:
            return _put_off()
        if not isinstance(sent, Content):
            return sent
        if sent is not content:
            share.become(sum(part.size for part in sent.attachments))
        return Work(message, sent, share)

    async def _held_to_the_first(
        self, message: Claimed, content: Content, hashes: Sequence[str | None]
    ) -> Refused | Withheld | None:
        """Every attempt sends the same octets (RELIABILITY H6)."""
        first: Sequence[str | None] | None = message.fetched
        if not first:
            first = await self._store.queue.remember_fetched(self._epoch, message, hashes)
        if first is None:
            return Withheld("the claim is lost")
        for part, now, before in zip(content.attachments, hashes, first, strict=True):
            if now != before:
                failed = Failed("attachment_mismatch: it is not what was fetched for the first attempt")
                return Refused(Stage.PREPARE, judgement.told(part.filename, failed))
        return None

    async def _parts(
        self, tenant: TenantPk, home: Home | None, message: Claimed, parts: Sequence[Attachment], share: Share
    ) -> tuple[Attachment, ...] | Refused | Deferred:
        """One after the other; the share grows with them. `home` None: all of them are in the store."""
        found: list[Attachment] = []
        for part, before in zip_longest(parts, message.fetched[: len(parts)]):
            brought: Attachment | Failed = part
            if part.source is not None and part.source.mode is FetchMode.BASE64:
                brought = await self._from_the_store(tenant, part, part.source)
            elif part.source is not None:
                assert home is not None, "only what is in the store needs no home"
                wanted = Wanted(message.accepted_at, part.md5, before)
                brought = await self._brought(home, part, part.source, wanted)
            if isinstance(brought, Failed):
                self._homes.pop(tenant, None)
                kind = Deferred if brought.temporary else Refused
                return kind(Stage.PREPARE, judgement.told(part.filename, brought))
            found.append(brought)
            share.become(max(IN_MEMORY, sum(one.size for one in found)))
        return tuple(found)

    async def _home(self, account: Account) -> Home | Deferred:
        known = self._homes.get(account.tenant_pk)
        if known is not None and time.monotonic() - known[1] < HOME_KEPT:
            return known[0]
        try:
            tenant = await self._store.directory.tenant(account.tenant_id)
        except VaultError as e:
            return Deferred(Stage.PREPARE, f"client_auth cannot be opened: {e.detail}")
        if tenant is None:
            return Deferred(Stage.PREPARE, "the tenant is gone")
        home = home_of(tenant, self._base_url)
        self._homes[account.tenant_pk] = (home, time.monotonic())
        return home

    async def _from_the_store(
        self, tenant: TenantPk, part: Attachment, source: Source
    ) -> Attachment | Failed:
        found = await self._kept.get(tenant, source.location)
        return found if isinstance(found, Failed) else replace(part, content=found, source=None)

    async def _brought(
        self, home: Home, part: Attachment, source: Source, wanted: Wanted
    ) -> Attachment | Failed:
        found = await self._sources.get(source, home, part.mime_type, wanted)
        if isinstance(found, Failed):
            return found
        if wanted.md5 not in (None, found.digests.md5):
            return Failed(f"attachment_mismatch: its MD5 is {found.digests.md5}, not {wanted.md5}")
        return replace(part, content=found, source=None)


def _fetched_hash(part: Attachment, brought: Attachment) -> str | None:
    """Of what came with the message there is nothing to remember: it is named by its hash."""
    is_fetched = part.source is not None and part.source.mode is not FetchMode.BASE64
    return brought.content.digests.sha256 if is_fetched and isinstance(brought.content, Held) else None


def _put_off() -> PutOff:
    return PutOff(PUT_OFF * (1 + random.random()))  # noqa: S311 - spreads what comes back


class Gathering:
    """The messages of one account whose content is being brought together; each goes to `arrived` with its result."""

    def __init__(
        self, gather: Callable[[Claimed], Awaitable[Result]], arrived: Callable[[Claimed, Result], None]
    ) -> None:
        self._gather = gather
        self._arrived = arrived
        self._under_way: dict[asyncio.Task[None], Claimed] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    @property
    def messages(self) -> list[MessageId]:
        return [message.id for message in self._under_way.values()]

    def begin(self, message: Claimed) -> None:
        task = asyncio.create_task(self._one(message))
        self._under_way[task] = message

    async def stop(self) -> None:
        """Give up whatever is under way."""
        given_up = list(self._under_way)
        for task in given_up:
            task.cancel()
        await asyncio.gather(*given_up, return_exceptions=True)
        # Cancelled before its first step, a task says nothing of its message.
        for task in given_up:
            if (message := self._under_way.pop(task, None)) is not None:
                self._arrived(message, Withheld("not begun"))

    async def _one(self, message: Claimed) -> None:
        task = asyncio.current_task()
        assert task is not None
        result: Result = Withheld("not begun")
        try:
            result = await self._gather(message)
        finally:
            del self._under_way[task]
            self._arrived(message, result)
