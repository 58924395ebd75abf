"""The command line of gunicorn that the supervisor executes; nothing of gunicorn is needed to write it."""

import sys

from mailproxy.config import Settings

WORKER_CLASS = "mailproxy.api.worker.Worker"
LOGGER_CLASS = "mailproxy.api.worker.Lines"
APP = "mailproxy.api.asgi:create()"

_SLOWEST_REQUEST = 30
_KEEP_ALIVE = 15


def gunicorn_argv(settings: Settings, fd: int, *, worker_class: str = WORKER_CLASS) -> list[str]:
    """The command that serves the API on the listening socket `fd`, which the child must inherit.

    Settings reach the workers through the environment alone: each reads it with `config.load`.
    """
    options = {
        "bind": f"fd://{fd}",
        "workers": settings.api_workers,
        "worker-class": worker_class,
        "logger-class": LOGGER_CLASS,
        "graceful-timeout": _SLOWEST_REQUEST,
        "timeout": 2 * _SLOWEST_REQUEST,
        "keep-alive": _KEEP_ALIVE,
        "log-level": settings.log_level.lower(),
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return [sys.executable, "-m", "gunicorn", *flags, "--no-control-socket", APP]
