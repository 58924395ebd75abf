"""`mail-proxy serve` composed for tests: `python -m tests.campaign.serve PORT DOT`.

DOT is how long a reply to the final dot is waited for. A message with the id `--poison` names ends whatever process
prepares it. With `--careless` the senders' store grants every intent without writing it down: the control, with which
the checker must find duplicates. With `--unpolled` nobody looks for work unasked: a hint that is lost shows.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from mailproxy import config, log
from mailproxy.api import launch
from mailproxy.cli.composition import WORKERS
from mailproxy.cli.preparation import BOTH, export, prepare
from mailproxy.config import Settings
from mailproxy.errors import StorageUnavailable
from mailproxy.keyfile import node_id
from mailproxy.model import Epoch, MessageId
from sql.open import open_store
from supervisor.main import run
from tests.sender.doomed import Poison
from workers import scout
from workers.frame import TRY_AGAIN
from workers.sender import loop as sender
from workers.sender.connect import Timeouts
from workers.sender.prepare import prepare as prepare_message


class CarelessQueue:
    """A queue in all but one thing."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    async def intend(
        self, epoch: Epoch, messages: Sequence[MessageId], *, limited: bool = False
    ) -> frozenset[MessageId]:
        return frozenset(messages)


class CarelessStore:
    def __init__(self, store: Any) -> None:
        self._store = store
        self.queue = CarelessQueue(store.queue)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def open_carelessly(settings: Settings, *, role: str) -> Any:
    return CarelessStore(await open_store(settings, role=role))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("dot", type=float)
    parser.add_argument("--poison")
    parser.add_argument("--careless", action="store_true")
    parser.add_argument("--unpolled", action="store_true")
    given = parser.parse_args(argv)
    environ = dict(os.environ)

    def load() -> Settings:
        return config.load(environ, None, {"host": "127.0.0.1", "port": given.port})

    settings = load()
    try:
        prepare(settings, BOTH)
    except StorageUnavailable as error:
        print(error.detail, file=sys.stderr)
        return TRY_AGAIN
    export(settings, os.environ)
    log.set_up(settings.log_level, settings.log_format)
    opening = open_carelessly if given.careless else open_store
    render = Poison(given.poison) if given.poison else prepare_message
    polling = not given.unpolled
    timeouts = Timeouts(dot=given.dot)
    entry = partial(sender.entry, timeouts=timeouts, opening=opening, render=render, polling=polling)
    looking = partial(scout.entry, polling=polling)
    singles = tuple(
        replace(role, entry=looking) if role.entry is scout.entry else role for role in WORKERS.singles
    )
    return run(
        settings,
        replace(WORKERS, sender=entry, singles=singles),
        lambda fd: launch.serve(config.load(os.environ), fd),
        node=node_id(settings),
        reload=load,
    )


if __name__ == "__main__":
    sys.exit(main())
