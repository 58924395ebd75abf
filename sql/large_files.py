"""Files behind links, and the key that signs our own; sealed on the way in and opened on the way out."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from mailproxy.attachments import links
from mailproxy.attachments.large_file import LargeFile
from mailproxy.attachments.places import Place
from mailproxy.model import Instant, MessageId, Seconds, TenantPk
from mailproxy.vault import Vault
from sql.engine import Engine, one
from sql.queries import Row

LINK_KEY_BINDING = "instance|link_key"


@dataclass(frozen=True, slots=True)
class SqlLargeFiles:
    engine: Engine
    vault: Vault

    async def link_key(self) -> bytes:
        sealed = await self._sealed_key()
        if sealed is None:
            fresh = self.vault.seal(base64.b64encode(links.new_key()).decode(), LINK_KEY_BINDING)
            await self.engine.write(lambda: one("put_link_key", sealed=fresh))
            sealed = await self._sealed_key()
            assert sealed is not None
        return base64.b64decode(self.vault.open(sealed, LINK_KEY_BINDING))

    async def _sealed_key(self) -> bytes | None:
        ((sealed,),) = await self.engine.read(lambda: one("link_key"))
        return None if sealed is None else bytes(sealed)

    async def of_message(self, message: MessageId, revision: int) -> list[LargeFile]:
        found = await self.engine.read(lambda: one("large_files_of", message=message, revision=revision))
        return [_file(row) for row in found]

    async def begin(self, file: LargeFile) -> None:
        values = {
            **{name: getattr(file, name) for name in ("object", "tenant_pk", "tenant_id", "message_id")},
            **{name: getattr(file, name) for name in ("revision", "part", "filename", "media_type", "size")},
            **{name: getattr(file, name) for name in ("sha256", "lifespan", "expires_at")},
            "place": file.place.to_json(),
        }
        await self.engine.write(lambda: one("begin_large_file", **values))

    async def finish(self, name: str, url: str, expires_at: Instant) -> bool:
        values = {"object": name, "url": url, "expires_at": expires_at}
        return bool(await self.engine.write(lambda: one("finish_large_file", **values)))

    async def find(self, tenant: TenantPk, name: str) -> LargeFile | None:
        found = await self.engine.read(lambda: one("large_file", tenant=tenant, object=name))
        return _file(found[0]) if found else None

    async def downloaded(self, name: str) -> bool:
        return bool(await self.engine.write(lambda: one("large_file_downloaded", object=name)))

    async def expired(self, *, limit: int) -> list[LargeFile]:
        return [_file(row) for row in await self.engine.read(lambda: one("expired_large_files", limit=limit))]

    async def forget(self, names: Sequence[str]) -> int:
        objects = list(names)
        return len(await self.engine.write(lambda: one("forget_large_files", objects=objects)))

    async def put_off(self, name: str, delay: Seconds, *, tried: bool = True) -> None:
        values = {"object": name, "delay": delay, "tried": int(tried)}
        await self.engine.write(lambda: one("put_off_removal", **values))


def _file(row: Row) -> LargeFile:
    name, tenant, tenant_id, message, revision, part, filename, media_type, size, sha256, place, *rest = row
    url, lifespan, expires_at, downloaded_at, tries = rest
    return LargeFile(
        object=name,
        tenant_pk=TenantPk(tenant),
        tenant_id=tenant_id,
        message_id=MessageId(message),
        revision=revision,
        part=part,
        filename=filename,
        media_type=media_type,
        size=size,
        sha256=bytes(sha256),
        place=Place.from_json(place),
        url=url,
        lifespan=lifespan,
        expires_at=expires_at,
        downloaded_at=downloaded_at,
        tries=tries,
    )
