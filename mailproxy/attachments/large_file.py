"""A file behind a link as the database knows it, and what is asked of the database about it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mailproxy.attachments.places import Place
from mailproxy.model import Instant, MessageId, Seconds, TenantPk


@dataclass(frozen=True, slots=True)
class LargeFile:
    """An attachment in a storage: `part` counts a message's attachments from 0, `url` is what the mail says, None
    until the object is stored whole, `lifespan` is how long it stays once it was downloaded."""

    object: str
    tenant_pk: TenantPk
    tenant_id: str
    message_id: MessageId
    revision: int
    part: int
    filename: str
    media_type: str
    size: int
    sha256: bytes = field(repr=False)
    place: Place
    url: str | None = field(default=None, repr=False)
    lifespan: Seconds | None = None
    expires_at: Instant = 0.0
    downloaded_at: Instant | None = None
    tries: int = 0


class LargeFiles(Protocol):
    """Files behind links in sent mail. What has ended is there for `expired` only."""

    async def link_key(self) -> bytes:
        """The instance's own 256 bits that sign download links; made when they are first asked for."""

    async def of_message(self, message: MessageId, revision: int) -> list[LargeFile]:
        """The newest of each attachment, whether stored whole (with a URL) or begun."""

    async def begin(self, file: LargeFile) -> None:
        """Before anything is stored: what is stored in part is found, and removed, at its end."""

    async def finish(self, name: str, url: str, expires_at: Instant) -> bool:
        """The object is stored whole; False when it has ended meanwhile."""

    async def find(self, tenant: TenantPk, name: str) -> LargeFile | None: ...
    async def downloaded(self, name: str) -> bool:
        """For the first time, which may bring its end nearer; False for any later one."""

    async def expired(self, *, limit: int) -> list[LargeFile]: ...
    async def forget(self, names: Sequence[str]) -> int: ...
    async def put_off(self, name: str, delay: Seconds, *, tried: bool = True) -> None:
        """It could not be removed: try again after `delay` seconds. `tried` counts among its tries."""
