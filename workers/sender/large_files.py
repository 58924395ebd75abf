"""Before rendering: attachments above a tenant's limit are sent all the same, refused, or become links."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mailproxy import egress, log, media_types, metrics
from mailproxy.attachments import large, links
from mailproxy.attachments.large import Action, LargeFiles, Links
from mailproxy.attachments.large_file import LargeFile
from mailproxy.attachments.links import Pass
from mailproxy.attachments.places import Place
from mailproxy.attachments.rewriting import Link, with_links
from mailproxy.attachments.storage import Failed, Object, Storage
from mailproxy.config import Settings
from mailproxy.model import Account, Attachment, Content, Instant, Seconds, TenantPk
from mailproxy.outcome import Deferred, Refused, Stage
from mailproxy.reach import Reach
from mailproxy.records import Claimed
from mailproxy.store import Store
from mailproxy.vault import VaultError

KNOWN_FOR: Seconds = 10.0
PIECE = 1 << 20
UPLOADS_WITHIN: Seconds = 86400.0
"""What was begun and never stored whole is removed so long after its links would have ended."""

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A tenant's configuration with the secrets of its storage, read at `at` on the monotonic clock."""

    tenant_pk: TenantPk
    tenant_id: str
    config: LargeFiles
    secrets: Mapping[str, str]
    at: Seconds


class Offload:
    """What the accounts of a process share: storages, each tenant's configuration, the key that signs our links."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._public_base_url = settings.public_base_url
        reach = Reach(egress.allowed(settings.egress_allow))
        self._storage = Storage(settings.large_file_base_dir, settings.attachment_timeout, reach)
        self._wanted: dict[TenantPk, Wanted] = {}
        self._key: bytes | None = None

    def close(self) -> None:
        self._storage.close()

    async def of(
        self, account: Account, message: Claimed, content: Content
    ) -> Content | Refused | Deferred | None:
        """The content as it is to be sent; once an attachment is a link, it is the same link at every attempt.

        None while others of the tenant wait for its storage.
        """
        if not content.attachments:
            return content
        try:
            wanted = await self._of_tenant(account)
            are_large = [i for i, part in enumerate(content.attachments) if wanted.config.is_large(part.size)]
            known: dict[int, LargeFile] = {}
            if message.attempt > 1 or (are_large and wanted.config.action is Action.REWRITE):
                found = await self._store.large_files.of_message(message.id, message.revision)
                known = {file.part: file for file in found}
            told = {part: _link(file, file.url) for part, file in known.items() if file.url is not None}
            return await self._judged(
                message, content, wanted, [i for i in are_large if i not in told], known, told
            )
        except VaultError as e:
            return Deferred(Stage.PREPARE, f"Large file secrets cannot be opened: {e.detail}")

    async def _judged(
        self,
        message: Claimed,
        content: Content,
        wanted: Wanted,
        undecided: list[int],
        known: Mapping[int, LargeFile],
        told: dict[int, Link],
    ) -> Content | Refused | Deferred | None:
        for index in undecided:
            part = content.attachments[index]
            if wanted.config.action is Action.REJECT:
                cause = large.over_limit(part.filename, part.size, wanted.config)
                return Refused(Stage.PREPARE, cause)
            # An image inside the page would be missing there: it is sent, whatever its size.
            is_shown = part.inline and part.content_id is not None and content.body_html is not None
            if wanted.config.action is Action.WARN or wanted.config.place is None or is_shown:
                _log.warning("large_attachment", message=message.id, part=index, size=part.size)
                continue
            link = await self._stored(message, part, index, wanted, known.get(index))
            if isinstance(link, Failed):
                if not link.tried:
                    return None
                metrics.large_files("failed")
                _log.warning("large_file_not_stored", message=message.id, part=index, error=link.cause)
                return Deferred(Stage.PREPARE, f"Large file upload failed for {part.filename}: {link.cause}")
            told[index] = link
        return with_links(content, told)

    async def _stored(
        self, message: Claimed, part: Attachment, index: int, wanted: Wanted, begun: LargeFile | None
    ) -> Link | Failed:
        """An upload that failed is begun again under its name: nothing is stored twice."""
        place = wanted.config.place
        assert place is not None
        file = begun
        if file is None or not file.place.is_where(place):
            file = await self._new(message, part, index, wanted, place)
            await self._store.large_files.begin(file)
        target = Object(place, file.object, wanted.secrets)
        names = {"filename": file.filename, "media_type": file.media_type}
        failed = await self._storage.put(target, _pieces(part), part.size, **names)
        if failed is not None:
            return failed
        ends_at = time.time() + wanted.config.ttl
        url = await self._url(file, target, wanted, ends_at)
        if isinstance(url, Failed):
            return url
        if not await self._store.large_files.finish(file.object, url, ends_at):
            return Failed("its time was over before it was stored")
        metrics.large_files("stored")
        return _link(file, url)

    async def _new(
        self, message: Claimed, part: Attachment, index: int, wanted: Wanted, place: Place
    ) -> LargeFile:
        return LargeFile(
            object=links.new_object(),
            tenant_pk=wanted.tenant_pk,
            tenant_id=wanted.tenant_id,
            message_id=message.id,
            revision=message.revision,
            part=index,
            filename=part.filename,
            media_type=media_types.effective(part.mime_type, part.filename),
            size=part.size,
            sha256=await asyncio.to_thread(_sha256, part),
            place=place,
            lifespan=wanted.config.lifespan,
            expires_at=time.time() + wanted.config.ttl + UPLOADS_WITHIN,
        )

    async def _url(self, file: LargeFile, target: Object, wanted: Wanted, ends_at: Instant) -> str | Failed:
        if wanted.config.served_by(wanted.secrets) is Links.STORAGE:
            return await self._storage.link(target, file.filename, wanted.config.ttl)
        base = wanted.config.public_base_url or self._public_base_url
        if base is None:
            return Failed("no public_base_url is set, nor GMP_PUBLIC_BASE_URL")
        if self._key is None:
            self._key = await self._store.large_files.link_key()
        return links.url(base, self._key, Pass(file.tenant_pk, file.object, ends_at), file.filename)

    async def _of_tenant(self, account: Account) -> Wanted:
        known = self._wanted.get(account.tenant_pk)
        if known is None or time.monotonic() - known.at >= KNOWN_FOR:
            tenant = await self._store.directory.tenant(account.tenant_id)
            config = large.of_stored(tenant.large_file_config if tenant else None)
            secrets = tenant.large_file_secrets if tenant else {}
            known = Wanted(account.tenant_pk, account.tenant_id, config, secrets, time.monotonic())
            self._wanted[account.tenant_pk] = known
        return known


def _link(file: LargeFile, url: str) -> Link:
    return Link(file.filename, file.size, url)


def _pieces(part: Attachment) -> Callable[[], Iterable[bytes | memoryview]]:
    content = part.content
    if not isinstance(content, bytes):
        return lambda: content.chunks(PIECE)
    view = memoryview(content)
    return lambda: (view[start : start + PIECE] for start in range(0, len(view), PIECE))


def _sha256(part: Attachment) -> bytes:
    digest = hashlib.sha256()
    for piece in _pieces(part)():
        digest.update(piece)
    return digest.digest()
