"""The port, implemented once over an engine: what differs between the databases is in the .sql files."""

from dataclasses import dataclass, replace

from mailproxy.audit import Pending
from mailproxy.store import Wakeups
from sql.administration import SqlAdministration
from sql.certified import SqlCertified
from sql.contents import SqlContents
from sql.dead_letters import SqlDeadLetters
from sql.directory import SqlDirectory
from sql.engine import Engine
from sql.fleet import SqlFleet
from sql.inbound import SqlInbound
from sql.large_files import SqlLargeFiles
from sql.noting import NotingEngine
from sql.queue import SqlQueue
from sql.reports import SqlReports
from sql.suppressions import SqlSuppressions
from sql.upkeep import SqlUpkeep


@dataclass(frozen=True, slots=True)
class SqlStore:
    engine: Engine
    queue: SqlQueue
    contents: SqlContents
    reports: SqlReports
    dead_letters: SqlDeadLetters
    directory: SqlDirectory
    suppressions: SqlSuppressions
    fleet: SqlFleet
    inbound: SqlInbound
    administration: SqlAdministration
    large_files: SqlLargeFiles
    upkeep: SqlUpkeep
    certified: SqlCertified
    wakeups: Wakeups

    def noting(self, pending: Pending) -> "SqlStore":
        engine = NotingEngine(self.engine, pending)
        return replace(
            self,
            queue=replace(self.queue, engine=engine, pending=pending),
            reports=replace(self.reports, engine=engine),
            dead_letters=replace(self.dead_letters, engine=engine),
            directory=replace(self.directory, engine=engine),
            suppressions=replace(self.suppressions, engine=engine),
            administration=replace(self.administration, engine=engine),
        )

    async def aclose(self) -> None:
        await self.wakeups.aclose()
        await self.engine.aclose()
