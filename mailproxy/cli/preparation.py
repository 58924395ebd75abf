"""What has to be right before a server starts, and the environment its programs read."""

import asyncio
from collections.abc import MutableMapping
from dataclasses import dataclass

from pydantic import SecretStr

from mailproxy import config
from mailproxy.cli import show
from mailproxy.config import VARIABLES, Settings
from mailproxy.errors import ConfigurationError
from mailproxy.keyfile import key_ring
from sql.migrate import migrate
from sql.open import open_store

_OTHER_NAMES = ("LOG_LEVEL", "LOG_FORMAT")


@dataclass(frozen=True, slots=True)
class Halves:
    """What of the service a process tree runs."""

    api: bool
    workers: bool


BOTH = Halves(api=True, workers=True)


def prepare(settings: Settings, halves: Halves) -> None:
    """Sound settings, a key, a current schema: made, or a ConfigurationError that names all that is wrong."""
    for warning in settings.warnings:
        show.note(f"Warning: {warning}")
    refuse_problems(settings, halves)
    key_ring(settings)
    migrate(settings.database)
    if not settings.scheduler_active:
        asyncio.run(_suspend_everything(settings))


async def _suspend_everything(settings: Settings) -> None:
    """Until somebody activates the scheduler: a later start without the setting leaves it suspended."""
    store = await open_store(settings, role="cli")
    try:
        await store.directory.suspend(None, None)
    finally:
        await store.aclose()
    show.note("Sending is suspended (GMP_SCHEDULER_ACTIVE): POST /commands/activate resumes it.")


def refuse_problems(settings: Settings, halves: Halves) -> None:
    if not halves.api:  # nobody can come in
        settings = settings.model_copy(update={"allow_anonymous": True})
    if found := config.problems(settings):
        raise ConfigurationError(
            "The server cannot run like this:\n" + "\n".join(f"  {one}" for one in found)
        )


def export(settings: Settings, environ: MutableMapping[str, str]) -> None:
    """Make `environ` say what `settings` hold, and nothing else about the service."""
    for name in list(environ):
        if name.startswith(("GMP_", "MAIL_PROXY_")) or name in _OTHER_NAMES:
            del environ[name]
    for name in settings.model_fields_set & VARIABLES.keys():
        value = getattr(settings, name)
        if value is not None:
            environ[VARIABLES[name]] = _text(value)


def _text(value: object) -> str:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case bool():
            return "true" if value else "false"
        case tuple():
            return ",".join(_text(part) for part in value)
        case int():
            return str(int(value))
        case float():
            return f"{value:f}"
        case _:
            return str(value)
