"""A service of tiny workers for `test_processes`: `python -m tests.supervisor.driver DIRECTORY`.

Workers write what happens to them to DIRECTORY/events, and do what files in it tell them.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from mailproxy import log
from mailproxy.config import Settings
from mailproxy.errors import ConfigurationError, StorageUnavailable
from mailproxy.model import AccountPk
from supervisor.main import run
from supervisor.plan import Pace, Role, RoleSet
from workers.control import Assign, Idle, Reaped, Wake, Wanted
from workers.frame import Life

HERE = Path(sys.argv[1]) if __name__ == "__main__" else Path()
TICK = 0.01


def record(event: str, life: Life, **facts: object) -> None:
    line = {
        "event": event,
        "role": life.role,
        "number": life.number,
        "pid": os.getpid(),
        "owner": life.owner,
        **facts,
    }
    with (HERE / "events").open("ab", buffering=0) as events:
        events.write(json.dumps(line).encode() + b"\n")


def told(name: str) -> str | None:
    try:
        return (HERE / name).read_text()
    except FileNotFoundError:
        return None


async def _born(life: Life) -> None:
    record("born", life, succeeds=life.succeeds, assigned=life.assigned, label=life.settings.node_id)
    match told(f"fate.{life.role}"):
        case "die":
            os._exit(3)
        case "misconfigured":
            raise ConfigurationError("told so")
        case "hang":
            time.sleep(60)
        case "try-again":
            life.ready()
            raise StorageUnavailable("told so")
    life.ready()


async def _drained(life: Life) -> None:
    record("stopping", life, left=life.drain_left())
    if told(f"hang.{life.role}") is not None:
        time.sleep(60)
    while told("hold") is not None:
        await asyncio.sleep(TICK)
    record("done", life)


async def idler(life: Life) -> None:
    await _born(life)
    await life.stopping.wait()
    await _drained(life)


async def scout(life: Life) -> None:
    await _born(life)
    before = None
    while not life.stopping.is_set():
        if (wanted := told("wanted")) and wanted != before:
            before = wanted
            accounts = tuple((AccountPk(pk), slot) for pk, slot in json.loads(wanted))
            life.tell(Wanted(accounts))
            await asyncio.sleep(TICK)
            record("wanted", life, accounts=accounts)
        await asyncio.sleep(TICK)
    await _drained(life)


async def sender(life: Life) -> None:
    await _born(life)
    accounts = set(life.assigned)
    while not life.stopping.is_set() and accounts:
        while not life.inbox.empty():
            match life.inbox.get_nowait():
                case Assign(more):
                    accounts.update(more)
                    record("assigned", life, accounts=more)
                case Wake(these):
                    record("woken", life, accounts=these)
                case Reaped(owners):
                    record("reaped", life, owners=owners)
        for account in list(accounts):
            idle = HERE / f"idle.{account[0]}"
            if idle.exists():
                idle.unlink()
                accounts.remove(account)
                life.tell(Idle((account,)))
        await asyncio.sleep(TICK)
    await _drained(life)


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getppid()).encode()]


def _settings() -> Settings:
    options = json.loads((HERE / "settings").read_text())
    if options.pop("invalid", False):
        raise ConfigurationError("told so")
    return Settings(**{"host": "127.0.0.1", "port": 0} | options)


def _api(fd: int) -> NoReturn:
    """Another program in the place of this one, so that nothing of it is hidden by what was forked."""
    os.set_inheritable(fd, True)
    gunicorn = ["-m", "gunicorn", "--bind", f"fd://{fd}", "--no-control-socket", "--graceful-timeout", "3"]
    program = told("api-program")
    words = [*gunicorn, "tests.supervisor.driver:application"] if program is None else ["-c", program]
    os.execv(sys.executable, [sys.executable, *words])


def main() -> int:
    options = json.loads((HERE / "options").read_text())
    log.set_up(log_format="json")
    roles = RoleSet(
        sender,
        (Role("scout", scout), Role("reporter", idler, overlaps=True), Role("maintenance", idler)),
    )
    return run(
        _settings(),
        roles,
        _api if options["api"] else None,
        node="node",
        reload=_settings,
        pace=Pace(silence=options["silence"], settling=0.5),
    )


if __name__ == "__main__":
    sys.exit(main())
