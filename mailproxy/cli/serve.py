"""serve, api, workers: a server in the foreground, configured by the environment alone."""

import os
from collections.abc import Callable

import click

from mailproxy import config
from mailproxy.cli.preparation import BOTH, Halves, prepare
from mailproxy.config import Settings

_host = click.option("-h", "--host", help="Address to listen on.  [GMP_HOST, 0.0.0.0]")
_port = click.option("-p", "--port", type=click.IntRange(0, 65535), help="Port.  [GMP_PORT, 8000]")


@click.command()
@_host
@_port
def serve(host: str | None, port: int | None) -> int:
    """Run API and workers, configured by the environment."""
    return _serve(BOTH, {"host": host, "port": port})


@click.command()
@_host
@_port
def api(host: str | None, port: int | None) -> int:
    """Run the API only; the workers run elsewhere."""
    return _serve(Halves(api=True, workers=False), {"host": host, "port": port})


@click.command()
def workers() -> int:
    """Run the workers only; the API runs elsewhere."""
    return _serve(Halves(api=False, workers=True), {})


def _serve(halves: Halves, flags: dict[str, object]) -> int:
    environ = dict(os.environ)

    def load() -> Settings:
        return config.load(environ, None, flags)

    prepare(load(), halves)
    return run_server(load, halves)


def run_server(load: Callable[[], Settings], halves: Halves) -> int:
    from mailproxy.cli import composition  # noqa: PLC0415 what only servers need takes half a second to import

    return composition.run_server(load, halves)


COMMANDS = (serve, api, workers)
