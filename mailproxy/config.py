"""Settings: flags, environment and instance file, read once into one frozen value (CONTRACT §9)."""

import base64
import binascii
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_args
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from mailproxy import egress
from mailproxy.errors import ConfigurationError
from mailproxy.layers import Given, Layers
from mailproxy.model import Priority

RUN_SECRET = Path("/run/secrets/encryption_key")

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Database:
    """Where the rows are. `url` may hold a password and `label` never does; `path` is set for SQLite only."""

    kind: Literal["postgres", "sqlite"]
    url: str = field(repr=False)
    label: str
    path: Path | None = None


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:
        raise ValueError(
            "is not a well-formed address"
        ) from None  # the original text quotes user and password


def database_at(address: str) -> Database:
    """The database named by a path, `sqlite:path`, `postgres://…` or `postgresql://…`."""
    scheme = re.match(r"([a-z0-9+]+):(?://)?", address)
    if scheme and scheme[1] in ("postgres", "postgresql") and scheme[0].endswith("//"):
        parts = _split(address)
        return Database("postgres", address, f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}")
    if scheme and scheme[1] != "sqlite":
        raise ValueError("must be a path, sqlite:PATH or postgresql://HOST/DATABASE")
    path = Path(address[len(scheme[0]) if scheme else 0 :]).expanduser()
    return Database("sqlite", str(path), str(path), path)


def decode_keys(text: str) -> tuple[bytes, ...]:
    """The key ring in a comma list of base64 keys; the first one seals, all of them open."""
    try:
        keys = tuple(base64.b64decode(part.strip(), validate=True) for part in text.split(","))
    except binascii.Error:
        keys = ()
    if not keys or any(len(key) != 32 for key in keys):
        raise ValueError("must be base64 of 32 bytes, or a comma list of such keys (openssl rand -base64 32)")
    return keys


def _listed(value: object) -> object:
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


def _seconds(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([smhd]?)", value.strip().lower())
    if match is None:
        raise ValueError("must be seconds, or a number with s, m, h or d")
    return float(match[1]) * _UNITS[match[2]]


def _several_seconds(value: object) -> object:
    parts = _listed(value)
    return tuple(_seconds(part) for part in parts) if isinstance(parts, tuple | list) else parts


def _priority(value: object) -> object:
    if isinstance(value, str) and value.upper() in Priority.__members__:
        return Priority[value.upper()]
    return value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _level(value: object) -> object:
    level = value.upper() if isinstance(value, str) else value
    return {"WARN": "WARNING", "FATAL": "CRITICAL", "TRACE": "DEBUG"}.get(str(level), level)


def _log_format(value: object) -> object:
    return {"text": "console", "plain": "console"}.get(str(value).lower(), _lower(value))


def _address(value: str | SecretStr | None) -> str | SecretStr | None:
    if value is not None:
        database_at(value.get_secret_value() if isinstance(value, SecretStr) else value)
    return value


def _key_ring(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        decode_keys(value.get_secret_value())
    return value


def _web_address(value: str) -> str:
    parts = _split(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http:// or https:// address")
    if parts.username is not None:
        raise ValueError("must not hold credentials: they have settings of their own")
    return value


def _allow_list(value: tuple[str, ...]) -> tuple[str, ...]:
    egress.allowed(value)
    return value


def _database(values: Mapping[str, object]) -> Database:
    url = values["database_url"]
    return database_at(url.get_secret_value() if isinstance(url, SecretStr) else str(values["db_path"]))


def _api_workers(values: Mapping[str, object]) -> int:
    return 1 if _database(values).kind == "sqlite" else os.cpu_count() or 1


def _log_level(values: Mapping[str, object]) -> Literal["DEBUG", "INFO"]:
    return "DEBUG" if values["debug"] else "INFO"


def _state_dir(values: Mapping[str, object]) -> Path:
    """Beside an SQLite file, else below the user's state directory; two databases never share one."""
    database = _database(values)
    if database.path is not None:
        return database.path.absolute().with_name(database.path.name + ".state")
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", database.label.removeprefix("postgresql://")).strip("_")
    return Path(str(values["state_home"])) / "mailproxy" / (readable or "default")


Count = Annotated[int, Field(ge=1)]
Duration = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]
Wait = Annotated[float, BeforeValidator(_seconds), Field(ge=0)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
AllowList = Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_allow_list)]


class Settings(BaseModel):
    """Every setting as a value; durations in seconds. Made by `load`; never changed afterwards."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True, allow_inf_nan=False
    )

    db_path: Annotated[str, AfterValidator(_address)] = "./mail_service.db"
    database_url: Annotated[SecretStr | None, AfterValidator(_address)] = None
    host: str = "0.0.0.0"  # noqa: S104 - the contract's default
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    api_token: SecretStr | None = None
    allow_anonymous: bool = False
    metrics_token: SecretStr | None = None
    metrics_tenant_label: bool = True
    encryption_key: Annotated[SecretStr | None, AfterValidator(_key_ring)] = None

    api_workers: Count = Field(default_factory=_api_workers)
    max_senders: Count = 16
    sender_connections: Count = 10
    batch_size_per_account: Count = 50
    account_slots: Count = 1
    idle_seconds: Wait = 30.0

    scheduler_active: bool = True
    dispatch_on_arrival: bool = True
    send_loop_interval: Duration = 0.5
    test_mode: bool = False

    default_priority: Annotated[Priority, BeforeValidator(_priority)] = Priority.MEDIUM
    max_retries: Annotated[int, Field(ge=0)] = 5
    retry_delays: Annotated[tuple[Wait, ...], BeforeValidator(_several_seconds), Field(min_length=1)] = (
        60.0,
        300.0,
        900.0,
        3600.0,
        7200.0,
    )
    message_max_age: Duration = 5 * 86400.0

    delivery_report_retention_seconds: Wait = 604800.0
    command_log_retention_seconds: Wait = 30 * 86400.0
    sync_interval: Duration = 300.0
    report_dead_after: Duration = 86400.0
    client_sync_url: WebAddress | None = None
    client_sync_user: str | None = None
    client_sync_password: SecretStr | None = None
    client_sync_token: SecretStr | None = None

    attachment_base_dir: Annotated[tuple[Path, ...], BeforeValidator(_listed)] = ()
    attachment_base_url: WebAddress | None = None
    attachment_timeout: Duration = 30.0
    max_attachment_mb: Count = 100
    attachment_budget_mb: Count = 128
    large_file_base_dir: Annotated[tuple[Path, ...], BeforeValidator(_listed)] = ()
    public_base_url: WebAddress | None = None
    fetch_allow: AllowList = ()
    egress_allow: AllowList = ()

    cache_memory_max_mb: Annotated[float, Field(ge=0)] = 50.0
    cache_memory_ttl_seconds: Wait = 300.0
    cache_disk_dir: Path | None = None
    cache_disk_max_mb: Annotated[float, Field(ge=0)] = 500.0
    cache_disk_ttl_seconds: Wait = 3600.0
    cache_disk_threshold_kb: Annotated[float, Field(ge=0)] = 100.0

    bounce_enabled: bool = False
    bounce_imap_host: str | None = None
    bounce_imap_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    bounce_imap_user: str | None = None
    bounce_imap_password: SecretStr | None = None
    bounce_ssl: bool = True
    bounce_poll_interval: Duration = 60.0
    bounce_processed: Annotated[str, Field(pattern=r"^(delete|seen|move:[^\x00-\x1f\x7f]+)$")] = "delete"
    bounce_strict: bool = False
    pec_acceptance_timeout: Duration = 1800.0
    pec_issuers: Path | None = None
    pec_unverified: Annotated[Literal["apply", "record"], BeforeValidator(_lower)] | None = None
    pec_receipt_retention_seconds: Wait = 913 * 86400.0

    lease_seconds: Duration = 15.0
    drain_seconds: Wait = 60.0
    state_home: Path = Path("/var/lib")
    state_dir: Path = Field(default_factory=_state_dir)
    node_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] | None = None

    debug: bool = False
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_level)
    ] = Field(default_factory=_log_level)
    log_format: Annotated[Literal["json", "console"], BeforeValidator(_log_format)] | None = None
    log_delivery_activity: bool = False

    max_body_mb: Count = 64
    max_batch: Count = 1000
    max_queued_per_tenant: Count = 1_000_000
    min_free_disk_mb: Annotated[int, Field(ge=0)] = 100

    warnings: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _server_in_db_path(cls, values: dict[str, object]) -> dict[str, object]:
        """`db_path` may name a PostgreSQL server, whose password is then kept like that of `database_url`."""
        path = values.get("db_path")
        if not isinstance(path, str) or not path.lstrip().startswith(("postgres:", "postgresql:")):
            return values
        rest = {name: value for name, value in values.items() if name != "db_path"}
        return {"database_url": path, **rest}

    @property
    def database(self) -> Database:
        return _database(self.__dict__)

    @property
    def encryption_keys(self) -> tuple[bytes, ...]:
        """The configured key ring, empty when none is configured (see `keyfile.key_ring`)."""
        return decode_keys(self.encryption_key.get_secret_value()) if self.encryption_key else ()

    def redacted(self) -> dict[str, object]:
        """The whole configuration for a log line: of secrets only whether they are set."""
        others = (name for name in VARIABLES if name not in ("db_path", "database_url"))
        return {"database": self.database.label, **{name: _shown(getattr(self, name)) for name in others}}


def _shown(value: object) -> object:
    if isinstance(value, SecretStr):
        return "(set)"
    return value if isinstance(value, str | int | float | None) else str(value)


VARIABLES = {
    name: {"encryption_key": "MAIL_PROXY_ENCRYPTION_KEY", "idle_seconds": "GMP_SENDER_IDLE_SECONDS"}.get(
        name, f"GMP_{name.upper()}"
    )
    for name in Settings.model_fields
    if name not in ("state_home", "warnings")
}
_SECRETS = frozenset(
    name for name, info in Settings.model_fields.items() if SecretStr in get_args(info.annotation)
)


def load(
    environ: Mapping[str, str],
    file: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    run_secret: Path = RUN_SECRET,
) -> Settings:
    """Settings from flags (`overrides`, by attribute) over `environ` over the TOML `file` over defaults.

    Empty and None values count as not given. Raises ConfigurationError with one line for each fault.
    """
    layers = Layers(VARIABLES, _SECRETS)
    given: dict[str, Given] = {}
    for layer in (
        layers.flags(overrides or {}),
        layers.environment(environ),
        layers.file(file) if file else {},
        layers.run_secret(run_secret),
    ):
        if given.keys() & {"db_path", "database_url"}:
            layer.pop("db_path", None)
            layer.pop("database_url", None)
        given = layer | given
    values = {name: one.value for name, one in given.items()}
    home = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or "/var/lib", ".local/state")
    try:
        settings = Settings.model_validate({**values, "state_home": home, "warnings": layers.warnings})
    except ValidationError as error:
        raise ConfigurationError("\n".join([*layers.faults, *_faults(error, given)])) from None
    if layers.faults:
        raise ConfigurationError("\n".join(layers.faults))
    return settings


def _faults(error: ValidationError, given: Mapping[str, Given]) -> list[str]:
    found = []
    for fault in error.errors(include_input=False, include_url=False):
        name = str(fault["loc"][0])
        if fault["type"] != "default_factory_not_called":
            origin = given[name].origin if name in given else VARIABLES.get(name, name)
            said = re.sub("^(Input|String) should", "must", fault["msg"].removeprefix("Value error, "))
            found.append(f"{origin}: {said}")
    return found


def problems(settings: Settings) -> list[str]:
    """What keeps a server from starting although every value is well formed, each with its remedy."""
    found = []
    database = settings.database
    if settings.api_token is None and not settings.allow_anonymous:
        found.append("GMP_API_TOKEN is not set: set it, or GMP_ALLOW_ANONYMOUS=true to let everybody in")
    if database.kind == "postgres" and settings.encryption_key is None:
        found.append(
            "MAIL_PROXY_ENCRYPTION_KEY is not set: with PostgreSQL it must be base64 of 32 bytes"
            " (openssl rand -base64 32)"
        )
    if database.label == ":memory:":
        found.append("GMP_DB_PATH: :memory: cannot be shared by processes: name a file")
    if settings.bounce_enabled and settings.bounce_imap_host is None:
        found.append("GMP_BOUNCE_IMAP_HOST is not set although GMP_BOUNCE_ENABLED is true")
    if settings.pec_issuers is not None and not settings.pec_issuers.is_file():
        found.append(
            f"GMP_PEC_ISSUERS: there is no file {settings.pec_issuers}: name one of certificates in PEM"
        )
    return found
