"""Instances on this machine: one directory each, readable by its owner only."""

import fcntl
import json
import os
import shutil
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mailproxy import config, tokens
from mailproxy.cli.exits import Exit, Failure
from mailproxy.config import Settings
from mailproxy.errors import ConfigurationError

_REMEDY = "set GMP_HOME to a folder that this user may read and write"


@dataclass(frozen=True, slots=True)
class Instance:
    """The files of an instance; it exists once its `config.toml` does."""

    name: str
    directory: Path

    @property
    def config_file(self) -> Path:
        return self.directory / "config.toml"

    @property
    def database_file(self) -> Path:
        return self.directory / "mail_service.db"

    @property
    def key_file(self) -> Path:
        return self.directory / "encryption.key"

    @property
    def pid_file(self) -> Path:
        return self.directory / "server.pid"

    @property
    def log_file(self) -> Path:
        return self.directory / "server.log"

    @property
    def exists(self) -> bool:
        with _reaching(self.config_file):
            return self.config_file.is_file()

    def settings(self, **overrides: object) -> Settings:
        """The instance's settings; wherever the environment points, its data stay its own."""
        return self.loader(**overrides)()

    def loader(self, **overrides: object) -> Callable[[], Settings]:
        """Reads the settings, each time anew, as of the environment of this moment."""
        environ = dict(os.environ)
        return lambda: config.load(environ, self.config_file, {**self._database(), **overrides})

    def remembered(self) -> dict[str, object]:
        """What `config.toml` holds, unchecked."""
        try:
            return tomllib.loads(self.config_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Failure(
                f"{self.config_file} cannot be read: {error}",
                Exit.MISCONFIGURED,
                remedy="Correct or remove it.",
            ) from error

    def remember(self, **values: object) -> None:
        """Merge `values` into `config.toml`, replacing it in one step."""
        merged = (self.remembered() if self.exists else {}) | values
        text = "".join(f"{key} = {_toml(value)}\n" for key, value in merged.items() if value is not None)
        write_private(self.config_file, text)

    def create(self, *, host: str, port: int, database_url: str | None = None) -> None:
        """Make the directory and the configuration, with a new admin token."""
        self._make_directory()
        if self.database_file.exists():
            raise Failure(
                f"{self.directory} holds a database but no config.toml.",
                Exit.CONFLICT,
                remedy="Choose another name, or move that directory away.",
            )
        self.remember(api_token=tokens.new_secret(), host=host, port=port, database_url=database_url)

    def remove(self) -> None:
        shutil.rmtree(self.directory)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Only one process at a time decides whether to start this instance."""
        self._make_directory()
        path = self.directory / "start.lock"
        with _reaching(path):
            file = path.open("w")
        with file as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make_directory(self) -> None:
        with _reaching(self.directory):
            home().mkdir(mode=0o700, parents=True, exist_ok=True)
            self.directory.mkdir(mode=0o700, exist_ok=True)

    def _database(self) -> dict[str, object]:
        url = self.remembered().get("database_url")
        return {"database_url": url} if url else {"db_path": str(self.database_file)}


def home() -> Path:
    """The folder of all instances."""
    try:
        return Path(os.environ.get("GMP_HOME") or Path.home() / ".mail-proxy")
    except RuntimeError as error:
        raise ConfigurationError(f"There is no home directory: {_REMEDY}") from error


def instance_named(name: str) -> Instance:
    return Instance(name, home() / name)


def existing_instance(name: str) -> Instance:
    instance = instance_named(name)
    if not instance.exists:
        raise Failure(
            f"There is no instance {name!r}.",
            Exit.NOT_FOUND,
            remedy=f"Make it with: mail-proxy start {name}   (all instances: mail-proxy list)",
        )
    return instance


def all_instances() -> list[Instance]:
    with _reaching(home()):
        entries = sorted(home().iterdir()) if home().is_dir() else []
        found = [Instance(entry.name, entry) for entry in entries if entry.is_dir()]
    return [instance for instance in found if instance.exists]


def environment_settings(**overrides: object) -> Settings:
    """The settings of a server without an instance directory."""
    return config.load(os.environ, None, overrides)


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 so that nobody ever sees it half written."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with _reaching(path):
        draft.unlink(missing_ok=True)
        opened = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(opened, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


@contextmanager
def _reaching(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be used: {error.strerror}: {_REMEDY}") from error


def _toml(value: object) -> str:
    """A TOML value; JSON spells strings, numbers, booleans and flat lists the same way."""
    return json.dumps(value)
