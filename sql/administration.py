"""The instance's own settings; its secret is sealed on the way in and opened on the way out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from mailproxy.instance import Stored
from mailproxy.vault import Vault
from sql.engine import Engine, one

BOUNCE_BINDING = "instance|bounce|password"


@dataclass(frozen=True, slots=True)
class SqlAdministration:
    engine: Engine
    vault: Vault

    async def instance(self) -> Stored:
        ((text, sealed, created, updated),) = await self.engine.read(lambda: one("instance_settings"))
        password = None if sealed is None else self.vault.open(bytes(sealed), BOUNCE_BINDING)
        return Stored(json.loads(text), password or None, created, updated)

    async def change_instance(self, changes: Mapping[str, object], password: str | None) -> None:
        sealed = None if password is None else self.vault.seal(password, BOUNCE_BINDING)
        text = json.dumps(changes)
        await self.engine.write(lambda: one("change_instance", changes=text, secret=sealed))
