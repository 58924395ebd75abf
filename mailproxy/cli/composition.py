"""The composition root of a server: which programs run, and how settings reach them."""

import os
from collections.abc import Callable

from mailproxy import config, log, metrics
from mailproxy.api import launch
from mailproxy.cli.preparation import Halves, export, refuse_problems
from mailproxy.config import Settings
from mailproxy.keyfile import make_state_folder, node_id
from sql.open import warm
from supervisor.main import run
from supervisor.plan import Role, RoleSet
from workers import maintenance, scout
from workers.imap import loop as imap
from workers.reporter import loop as reporter
from workers.sender import loop as sender

WORKERS = RoleSet(
    sender.entry,
    (
        Role("scout", scout.entry, overlaps=True),
        Role("reporter", reporter.entry),
        Role("imap", imap.entry),
        Role("maintenance", maintenance.entry),
    ),
)
NO_WORKERS = RoleSet(None, ())


def run_server(load: Callable[[], Settings], halves: Halves) -> int:
    """Serve until a signal ends it; `load` reads the settings, which are prepared for, now and at every SIGHUP."""
    settings = load()
    export(settings, os.environ)
    warm(settings.database)
    log.set_up(settings.log_level, settings.log_format, delivery_activity=settings.log_delivery_activity)

    make_state_folder(settings)
    metrics.clear(settings.state_dir / "metrics")

    def reload() -> Settings:
        fresh = load()
        refuse_problems(fresh, halves)
        export(fresh, os.environ)
        return fresh

    return run(
        settings,
        WORKERS if halves.workers else NO_WORKERS,
        (lambda fd: launch.serve(config.load(os.environ), fd)) if halves.api else None,
        node=node_id(settings),
        reload=reload,
    )
