"""Opens the store a configuration names. Only composition roots call this."""

from mailproxy.config import Database, Settings
from mailproxy.errors import ConfigurationError
from mailproxy.keyfile import key_ring
from mailproxy.store import Wakeups
from mailproxy.vault import Vault, VaultError
from sql import migrate, queries
from sql.administration import SqlAdministration
from sql.certified import SqlCertified
from sql.contents import SqlContents
from sql.dead_letters import SqlDeadLetters
from sql.directory import directory
from sql.engine import Engine
from sql.fleet import SqlFleet
from sql.inbound import SqlInbound
from sql.large_files import SqlLargeFiles
from sql.queue import SqlQueue, enqueues
from sql.reports import SqlReports
from sql.sqlite.engine import SqliteEngine
from sql.sqlite.wakeups import SqliteWakeups
from sql.store import SqlStore
from sql.suppressions import SqlSuppressions
from sql.upkeep import SqlUpkeep

CONNECTIONS = 4


async def open_store(settings: Settings, *, role: str, vault: Vault | None = None) -> SqlStore:
    """An open store on a current schema, with the vault's key checked against the database's canary.

    `vault` is the configured key ring unless given. Raises ConfigurationError for a schema or key that does not
    fit, StorageUnavailable when there is no database.
    """
    database = settings.database
    vault = vault or Vault(key_ring(settings))
    migrate.require_current(database)
    engine, wakeups = await (_postgres if database.kind == "postgres" else _sqlite)(database, role)
    store = assemble(engine, wakeups, vault, fallback=settings.client_sync_url is not None)
    try:
        await _check_key(store, vault)
    except BaseException:
        await store.aclose()
        raise
    return store


def warm(database: Database) -> None:
    """Read what opening such a store needs, but open nothing: for a process that will be forked."""
    queries.load(database.kind)
    migrate.known(database.kind)
    if database.kind == "postgres":
        from sql.postgres import engine, wakeups  # noqa: F401, PLC0415


async def _postgres(database: Database, role: str) -> tuple[Engine, Wakeups]:
    # Here, because these bring psycopg: 5 MB that a service on SQLite has no use for.
    from sql.postgres.engine import PostgresEngine  # noqa: PLC0415
    from sql.postgres.wakeups import PostgresWakeups  # noqa: PLC0415

    found = queries.load("postgres")
    engine = PostgresEngine(database.url, found, connections=CONNECTIONS, name=f"mailproxy {role}")
    await engine.open()
    return engine, PostgresWakeups(database.url)


async def _sqlite(database: Database, role: str) -> tuple[Engine, Wakeups]:
    assert database.path is not None
    return SqliteEngine(database.path, queries.load("sqlite")), SqliteWakeups(database.path)


def assemble(engine: Engine, wakeups: Wakeups, vault: Vault, *, fallback: bool) -> SqlStore:
    return SqlStore(
        engine=engine,
        queue=SqlQueue(engine, fallback, enqueues(engine, fallback, vault), vault),
        contents=SqlContents(engine),
        reports=SqlReports(engine, vault),
        dead_letters=SqlDeadLetters(engine),
        directory=directory(engine, fallback, vault),
        suppressions=SqlSuppressions(engine),
        fleet=SqlFleet(engine),
        inbound=SqlInbound(engine, vault, fallback),
        administration=SqlAdministration(engine, vault),
        large_files=SqlLargeFiles(engine, vault),
        upkeep=SqlUpkeep(engine, vault),
        certified=SqlCertified(engine, fallback),
        wakeups=wakeups,
    )


async def _check_key(store: SqlStore, vault: Vault) -> None:
    canary = await store.fleet.canary()
    if canary is None:
        await store.fleet.put_canary(vault.make_canary())
        canary = await store.fleet.canary()
    assert canary is not None
    try:
        vault.check_canary(canary)
    except VaultError as e:
        raise ConfigurationError(f"The encryption key does not fit this database: {e}") from e
