"""The pages that are written from the code: `PAGES` makes each of them."""

from collections.abc import Callable, Mapping
from pathlib import Path

from docs.generate import events, metrics, rest, settings
from mailproxy.api.app import ROUTES
from mailproxy.api.openapi import document
from mailproxy.cli import reference

FOLDER = Path(__file__).parents[1]

PAGES: Mapping[str, Callable[[], str]] = {
    "openapi.json": lambda: document.text(ROUTES),
    "rest.md": lambda: rest.text(document.text(ROUTES)),
    "settings.md": settings.text,
    "metrics.md": metrics.text,
    "events.md": lambda: events.text(document.text(ROUTES)),
    "cli.md": reference.text,
}
