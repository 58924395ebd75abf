"""The instance's own settings, whose secret is sealed on the way in and opened on the way out; the command log."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from mailproxy.audit import Command, CommandFilter, Entry
from mailproxy.instance import Stored
from mailproxy.model import Seconds
from mailproxy.vault import Vault
from sql import rows
from sql.engine import Engine, alone, one
from sql.noting import note

BOUNCE_BINDING = "instance|bounce|password"
PROOF_BINDING = "instance|proof|key"
PROOF_OCTETS = 32


@dataclass(frozen=True, slots=True)
class SqlAdministration:
    engine: Engine
    vault: Vault

    async def instance(self) -> Stored:
        ((text, sealed, created, updated),) = await self.engine.read(lambda: one("instance_settings"))
        password = None if sealed is None else self.vault.open(bytes(sealed), BOUNCE_BINDING)
        return Stored(json.loads(text), password or None, created, updated)

    async def proof_key(self) -> bytes:
        found = await self.engine.read(lambda: one("proof_key"))
        if found[0][0] is None:
            sealed = self.vault.seal(secrets.token_hex(PROOF_OCTETS), PROOF_BINDING)
            found = await self.engine.write(lambda: one("put_proof_key", sealed=sealed))
        return bytes.fromhex(self.vault.open(bytes(found[0][0]), PROOF_BINDING))

    async def change_instance(self, changes: Mapping[str, object], password: str | None) -> None:
        sealed = None if password is None else self.vault.seal(password, BOUNCE_BINDING)
        text = json.dumps(changes)
        await self.engine.write(lambda: one("change_instance", changes=text, secret=sealed))

    async def note(self, command: Command) -> None:
        await self.engine.write_soon(lambda: alone(note([command])))

    async def correct(self, entry: int, status: int) -> None:
        await self.engine.write_soon(lambda: one("correct_command", id=entry, status=status))

    async def newest_commands(self, wanted: CommandFilter, *, before: int | None, limit: int) -> list[Entry]:
        return await self._commands("newest_commands", wanted, before, limit)

    async def oldest_commands(self, wanted: CommandFilter, *, after: int | None, limit: int) -> list[Entry]:
        return await self._commands("oldest_commands", wanted, after, limit)

    async def _commands(
        self, query: str, wanted: CommandFilter, bound: int | None, limit: int
    ) -> list[Entry]:
        part = None if wanted.endpoint is None else f"%{rows.like(wanted.endpoint)}%"
        params = asdict(wanted) | {"endpoint": part, "bound": bound, "limit": limit}
        found = await self.engine.read(lambda: one(query, **params))
        return [Entry(row[0], row[1], Command(*row[2:])) for row in found]

    async def forget_commands(self, older_than: Seconds, *, limit: int) -> int:
        gone = await self.engine.write(lambda: one("forget_commands", older_than=older_than, limit=limit))
        return len(gone)
