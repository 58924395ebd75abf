"""A sender that does something to itself at one step: `python -m tests.sender.doomed ACCOUNT SLOT STEP DEED`.

With the deed `poison` the step is the id of a message whose rendering ends the process; `full` lets no file
grow any more, as a full disk does.
"""

import json
import os
import resource
import signal
import socket
import sys
import time
from functools import partial

from mailproxy import config, log
from mailproxy.model import AccountPk
from mailproxy.outcome import Refused
from mailproxy.records import Claimed
from workers import frame
from workers.frame import Life
from workers.sender import loop
from workers.sender.connect import Timeouts
from workers.sender.origin import Origin
from workers.sender.prepare import Prepared, prepare

POISONED = 9
DEEDS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


class Doom:
    """Reports the deed on standard output just before it does it, once."""

    def __init__(self, step: str, deed: str) -> None:
        self.step, self.deed, self.done = step, deed, False

    def __call__(self, step: str) -> None:
        if step == self.step and not self.done:
            self.done = True
            if self.deed == "stop":
                # A stopped SQLite writer keeps the whole database locked, as it must; not what is tested here.
                time.sleep(0.2)
            print(json.dumps({"deed": self.deed, "step": step}), flush=True)
            if self.deed == "full":
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # our log is a file, too
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            else:
                os.kill(os.getpid(), DEEDS[self.deed])


class Poison:
    """A renderer that one message is too much for."""

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id

    def __call__(self, message: Claimed, origin: Origin) -> Prepared | Refused:
        if message.client_id == self.client_id:
            print(json.dumps({"deed": "poison", "step": message.client_id}), flush=True)
            os._exit(POISONED)
        return prepare(message, origin)


def main(account: str, slot: str, step: str, deed: str) -> int:
    settings = config.load(os.environ)
    log.set_up("INFO", "json")
    life = Life(
        settings=settings,
        role="sender",
        number=9,
        owner=os.environ["OWNER"],
        succeeds=(os.environ["SUCCEEDS"],),
        assigned=((AccountPk(int(account)), int(slot)),),
    )
    ours, theirs = socket.socketpair()
    with ours:
        render = Poison(step) if deed == "poison" else prepare
        entry = partial(loop.entry, at=Doom(step, deed), timeouts=Timeouts(dot=5.0), render=render)
        return frame.run(life, entry, theirs)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
