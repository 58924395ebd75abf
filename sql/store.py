"""The port, implemented once over an engine: what differs between the databases is in the .sql files."""

from dataclasses import dataclass

from mailproxy.store import Wakeups
from sql.administration import SqlAdministration
from sql.dead_letters import SqlDeadLetters
from sql.directory import SqlDirectory
from sql.engine import Engine
from sql.fleet import SqlFleet
from sql.queue import SqlQueue
from sql.reports import SqlReports
from sql.upkeep import SqlUpkeep


@dataclass(frozen=True, slots=True)
class SqlStore:
    engine: Engine
    queue: SqlQueue
    reports: SqlReports
    dead_letters: SqlDeadLetters
    directory: SqlDirectory
    fleet: SqlFleet
    administration: SqlAdministration
    upkeep: SqlUpkeep
    wakeups: Wakeups

    async def aclose(self) -> None:
        await self.wakeups.aclose()
        await self.engine.aclose()
