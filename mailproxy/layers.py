"""Where settings are written: flags, environment, instance file, run secret; each read into one layer."""

import difflib
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SYNONYMS = {
    "LOG_LEVEL": "GMP_LOG_LEVEL",
    "LOG_FORMAT": "GMP_LOG_FORMAT",
    "MAIL_PROXY_DB_PATH": "GMP_DB_PATH",
    "GMP_BOUNCE_IMAP_SSL": "GMP_BOUNCE_SSL",
}
_READ_BY_THE_COMMAND_LINE = frozenset({"GMP_HOME", "GMP_URL", "GMP_INSTANCE", "GMP_TENANT"})


@dataclass(frozen=True, slots=True)
class Given:
    """A value as somebody wrote it, and where: `origin` is how a fault names it."""

    value: object = field(repr=False)
    origin: str


class Layers:
    """One reading of all sources, collecting faults and warnings on the way.

    `variables` maps attributes to environment variables. Each of the `secrets` may also be given as the name
    of a file that holds it: `…_FILE` in the environment, `…_file` in flags and the instance file.
    """

    def __init__(self, variables: Mapping[str, str], secrets: Collection[str]) -> None:
        self.faults: list[str] = []
        self.warnings: list[str] = []
        self._variables = variables
        self._secrets = secrets
        self._attributes = {variable: name for name, variable in variables.items()}

    def flags(self, overrides: Mapping[str, object]) -> dict[str, Given]:
        return self._layer((name, value, f"--{name.replace('_', '-')}") for name, value in overrides.items())

    def environment(self, environ: Mapping[str, str]) -> dict[str, Given]:
        return self._layer(self._entries(environ))

    def file(self, path: Path) -> dict[str, Given]:
        try:
            entries = tomllib.loads(path.read_text(encoding="utf-8"))
            exposed = path.stat().st_mode & 0o077
        except (OSError, ValueError) as error:
            self.faults.append(f"{path}: cannot be read: {_reason(error)}")
            return {}
        if exposed and entries.keys() & set(self._secrets):
            self.faults.append(f"{path}: holds secrets and can be read by others: chmod 600 it")
        return self._layer((name, value, f"{name} in {path}") for name, value in entries.items())

    def run_secret(self, path: Path) -> dict[str, Given]:
        """The encryption key where container runtimes mount it."""
        return self._layer([("encryption_key_file", str(path), str(path))] if path.is_file() else [])

    def _entries(self, environ: Mapping[str, str]) -> Iterator[tuple[str, object, str]]:
        for variable in sorted(environ):
            meant = _SYNONYMS.get(variable, variable)
            if variable in _READ_BY_THE_COMMAND_LINE or (meant != variable and environ.get(meant)):
                continue
            plain = self._attributes.get(meant.removesuffix("_FILE"))
            if meant in self._attributes:
                yield self._attributes[meant], environ[variable], variable
            elif plain in self._secrets:
                yield f"{plain}_file", environ[variable], variable
            elif variable.startswith("GMP_"):
                self._unknown(variable, variable, self._attributes)

    def _layer(self, entries: Iterable[tuple[str, object, str]]) -> dict[str, Given]:
        layer: dict[str, Given] = {}
        for key, given, origin in entries:
            name, value = key, given.strip() if isinstance(given, str) else given
            if value is None or value == "":
                continue
            if key not in self._variables and key.removesuffix("_file") in self._secrets:
                name, value = key.removesuffix("_file"), self._content(Path(str(value)), origin)
            if name not in self._variables:
                self._unknown(origin, key, self._variables)
            elif name in layer:
                self.faults.append(f"{layer[name].origin} and {origin} are both set: keep one of them")
            elif value is not None:
                layer[name] = Given(value, origin)
        return layer

    def _content(self, path: Path, origin: str) -> str | None:
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            self.faults.append(f"{origin}: the file cannot be read: {_reason(error)}")
            return None
        if not text:
            self.faults.append(f"{origin}: the file is empty")
        return text or None

    def _unknown(self, origin: str, key: str, names: Iterable[str]) -> None:
        nearest = difflib.get_close_matches(key, names, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        self.warnings.append(f"{origin}: no such setting{hint}")


def _reason(error: Exception) -> str:
    """What went wrong without any of the content: decoding errors quote it."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) if isinstance(error, tomllib.TOMLDecodeError) else "it is not UTF-8 text"
