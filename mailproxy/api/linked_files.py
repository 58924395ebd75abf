"""What a link of our own opens: the file behind it, and the storage that holds it."""

import time

from mailproxy import egress
from mailproxy.api.refusals import Refusal
from mailproxy.attachments import large, links
from mailproxy.attachments.large_file import LargeFile
from mailproxy.attachments.storage import Object, Storage
from mailproxy.attachments.threads import Room
from mailproxy.config import Settings
from mailproxy.reach import Reach
from mailproxy.store import Store

READERS = 32
READERS_OF_ONE = 4


def ended() -> Refusal:
    return Refusal(410, "This link has ended", "link_ended")


class LinkedFiles:
    """The storages that files are read from, and the key that opens links, read once."""

    def __init__(self, settings: Settings, store: Store) -> None:
        reach = Reach(egress.allowed(settings.egress_allow))
        within = settings.attachment_timeout
        room = Room(READERS, READERS_OF_ONE, patience=within)
        self.storage = Storage(settings.large_file_base_dir, within, reach, room)
        self._store = store
        self._key: bytes | None = None

    async def file(self, token: str, filename: str) -> LargeFile:
        """Raises Refusal: 403 for whatever is not a link of ours, 410 for one that has ended."""
        if self._key is None:
            self._key = await self._store.large_files.link_key()
        opened = links.opened(self._key, token, filename)
        if opened is None:
            raise Refusal(403, "This is not a valid link", "link_invalid")
        found = None
        if opened.ends_at > time.time():
            found = await self._store.large_files.find(opened.tenant, opened.object)
        if found is None:
            raise ended()
        return found

    async def object(self, file: LargeFile) -> Object:
        tenant = await self._store.directory.tenant(file.tenant_id)
        if tenant is None:
            return Object(file.place, file.object)
        place, secrets = large.reached(file.place, tenant.large_file_config, tenant.large_file_secrets)
        return Object(place, file.object, secrets)
