"""Real databases for everything: each test its own, migrated, on both dialects."""

import base64
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mailproxy import config, log
from mailproxy.config import Settings
from sql import migrate
from sql.open import open_store
from sql.store import SqlStore
from tests.support import examples, postgres
from tests.support.reused import ReusedDatabase

DIALECTS = ("postgres", "sqlite")
FIRST = (
    "process",
    "campaign",
    "deploy",
    "examples",
    "supervisor",
    "imap",
    "pec",
    "cli",
    "sender",
    "attachments",
)
KEY = base64.b64encode(b"k" * 32).decode()


examples.load_profile()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long goes first: at the end, a worker with a long file would have the others wait."""
    items.sort(
        key=lambda item: FIRST.index(folder) if (folder := item.path.parent.name) in FIRST else len(FIRST)
    )


@pytest.fixture(autouse=True, scope="session")
def _logs() -> None:
    log.set_up("INFO", "console")


@pytest.fixture(autouse=True, scope="session")
def _can_be_interrupted() -> None:
    """A shell starts background jobs deaf to SIGINT, and what they start inherits that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with postgres.server() as url:
        yield url


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: str) -> Iterator[str]:
    """A database that is only ever copied: a tenth of the time the migrations take."""
    with postgres.database(postgres_server) as url:
        migrate.migrate(config.database_at(url))
        yield url


@pytest.fixture(scope="session")
def reused_postgres(postgres_server: str, migrated_postgres: str) -> Iterator[ReusedDatabase]:
    """One database for one test after the other: to empty it takes a tenth of the time of a new copy."""
    with contextlib.closing(ReusedDatabase(postgres_server, migrated_postgres)) as database:
        yield database


def _surroundings(tmp_path: Path) -> dict[str, str]:
    return {
        "GMP_API_TOKEN": "admin-token",
        "MAIL_PROXY_ENCRYPTION_KEY": KEY,
        "GMP_STATE_DIR": str(tmp_path / "state"),
        "PATH": os.environ["PATH"],
    }


@pytest.fixture
def environ(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """What a server of this test needs in its environment: a database for itself, keys, a state directory."""
    common = _surroundings(tmp_path)
    if dialect == "sqlite":
        return common | {"GMP_DB_PATH": str(tmp_path / "mail.db")}
    reused: ReusedDatabase = request.getfixturevalue("reused_postgres")
    return common | {"GMP_DATABASE_URL": reused.lend(new="new_database" in request.fixturenames)}


@pytest.fixture
def new_database() -> None:
    """For tests that look at more than rows, such as sizes, statistics and plans: `environ` has an unused one."""


@pytest.fixture
def empty_environ(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The same with a database to which nothing was done."""
    common = _surroundings(tmp_path)
    if dialect == "sqlite":
        yield common | {"GMP_DB_PATH": str(tmp_path / "mail.db")}
        return
    with postgres.database(request.getfixturevalue("postgres_server")) as url:
        yield common | {"GMP_DATABASE_URL": url}


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that is only ever copied."""
    file = tmp_path_factory.mktemp("migrated") / "mail.db"
    migrate.migrate(config.database_at(str(file)))
    return file


@pytest.fixture
def settings(environ: dict[str, str], migrated_sqlite: Path) -> Settings:
    """Loaded and migrated."""
    loaded = config.load(environ)
    if (file := loaded.database.path) and not file.exists():
        shutil.copy(migrated_sqlite, file)
    migrate.migrate(loaded.database)
    return loaded


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[SqlStore]:
    opened = await open_store(settings, role="test")
    try:
        yield opened
    finally:
        await opened.aclose()
