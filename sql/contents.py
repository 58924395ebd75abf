"""Long content that came with messages, in pieces that are each committed: no writer is kept waiting for long."""

from collections.abc import Sequence
from dataclasses import dataclass

from mailproxy.model import Seconds, TenantPk
from sql.engine import Engine, one


@dataclass(frozen=True, slots=True)
class SqlContents:
    """Content stays for `kept` after somebody made sure of it, who makes sure anew when less than `sure` of that is
    left; what a message has is looked at again after `again`."""

    engine: Engine
    kept: Seconds = 3600.0
    sure: Seconds = 1800.0
    again: Seconds = 6 * 3600.0

    async def keep(self, tenant: TenantPk, sha256: str, pieces: Sequence[bytes]) -> None:
        whose = {"tenant": tenant, "sha256": sha256}
        known = await self.engine.read(lambda: one("content_known", sure=self.sure, **whose))
        is_whole, is_stale = known[0] if known else (False, True)
        if is_whole and not is_stale:
            return
        ((content,),) = await self.engine.write(lambda: one("content_begin", kept=self.kept, **whose))
        if is_whole:
            return
        for n, octets in enumerate(pieces):
            values = {"content": content, "n": n, "octets": octets}
            await self.engine.write_soon(lambda values=values: one("content_put", **values))  # type: ignore[misc]
        await self.engine.write(lambda: one("content_whole", content=content))

    async def piece(self, tenant: TenantPk, sha256: str, n: int) -> bytes | None:
        found = await self.engine.read(lambda: one("content_piece", tenant=tenant, sha256=sha256, n=n))
        return bytes(found[0][0]) if found else None

    async def forget(self, *, limit: int) -> int:
        return len(await self.engine.write(lambda: one("forget_contents", again=self.again, limit=limit)))
