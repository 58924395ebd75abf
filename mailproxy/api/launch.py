"""gunicorn as the supervisor's child runs it."""

from typing import Any

from mailproxy.config import Settings

WORKER_CLASS = "mailproxy.api.worker.Worker"
LOGGER_CLASS = "mailproxy.api.worker.Lines"
APP = "mailproxy.api.asgi:create()"

_SLOWEST_REQUEST = 30
_KEEP_ALIVE = 15


def serve(settings: Settings, fd: int, *, worker_class: str = WORKER_CLASS) -> int:
    """Serve the API on the listening socket `fd` until a signal ends it; the exit code.

    Settings reach the workers through the environment alone: each reads it with `config.load`.
    """
    # What only this process runs is not read by the one it was forked from.
    from gunicorn.app.base import BaseApplication  # noqa: PLC0415
    from gunicorn.util import import_app  # noqa: PLC0415

    class Api(BaseApplication):  # type: ignore[misc]  # gunicorn is untyped
        def load_config(self) -> None:
            for name, value in _options(settings, fd, worker_class).items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            return import_app(APP)

    try:
        Api(prog="gunicorn").run()
    except SystemExit as end:  # also that of a worker, which is forked in there
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _options(settings: Settings, fd: int, worker_class: str) -> dict[str, Any]:
    return {
        "bind": f"fd://{fd}",
        "workers": settings.api_workers,
        "worker_class": worker_class,
        "logger_class": LOGGER_CLASS,
        "graceful_timeout": _SLOWEST_REQUEST,
        "timeout": 2 * _SLOWEST_REQUEST,
        "keepalive": _KEEP_ALIVE,
        "loglevel": settings.log_level.lower(),
        "control_socket_disable": True,
    }
