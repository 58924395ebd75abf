"""The instance's own settings: what was set over the API, and under it the configuration as the seed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mailproxy.config import Settings
from mailproxy.model import Instant, Seconds

DEFAULT_NAME = "mail-proxy"


@dataclass(frozen=True, slots=True)
class Stored:
    """What was set, by the names of `GET /instance`; what is missing was never set."""

    values: Mapping[str, object]
    bounce_password: str | None = field(repr=False)
    created_at: Instant
    updated_at: Instant


@dataclass(frozen=True, slots=True)
class BounceSettings:
    """How bounces are fetched; the password opened. `processed` is delete, seen or `move:FOLDER`; `strict`:
    only what carries our proof is applied."""

    enabled: bool
    imap_host: str | None
    imap_port: int
    imap_user: str | None
    imap_password: str | None = field(repr=False)
    imap_folder: str
    imap_ssl: bool
    poll_interval: Seconds
    return_path: str | None
    processed: str
    strict: bool = False


def name(stored: Stored) -> str:
    return str(stored.values.get("name", DEFAULT_NAME))


def bounce(stored: Stored, settings: Settings) -> BounceSettings:
    """Field by field: as set over the API, else as configured (`GMP_BOUNCE_…`), else the default."""
    values = stored.values
    seed = settings.bounce_imap_password
    ssl = bool(values.get("bounce_imap_ssl", settings.bounce_ssl))
    port = values.get("bounce_imap_port", settings.bounce_imap_port) or (993 if ssl else 143)
    return BounceSettings(
        enabled=bool(values.get("bounce_enabled", settings.bounce_enabled)),
        imap_host=_text(values.get("bounce_imap_host", settings.bounce_imap_host)),
        imap_port=int(str(port)),
        imap_user=_text(values.get("bounce_imap_user", settings.bounce_imap_user)),
        imap_password=stored.bounce_password or (seed.get_secret_value() if seed else None),
        imap_folder=str(values.get("bounce_imap_folder", "INBOX")),
        imap_ssl=ssl,
        poll_interval=float(str(values.get("bounce_poll_interval", settings.bounce_poll_interval))),
        return_path=_text(values.get("bounce_return_path")),
        strict=bool(values.get("bounce_strict", settings.bounce_strict)),
        processed=str(values.get("bounce_processed", settings.bounce_processed)),
    )


def _text(value: object) -> str | None:
    return str(value) if value else None
