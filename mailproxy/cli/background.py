"""Starting a server that outlives the command, and asking a server whether it is ready."""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from mailproxy.cli import process
from mailproxy.cli.exits import Failure
from mailproxy.cli.home import Instance
from mailproxy.cli.process import Server
from mailproxy.model import Seconds

PATIENCE: Seconds = 60.0
_LAST_LINES = 15


@dataclass(frozen=True, slots=True)
class Readiness:
    ready: bool
    text: str


def start(instance: Instance, options: Sequence[str], patience: Seconds = PATIENCE) -> Server:
    """Start the instance in a session of its own; returns once /readyz answers 200."""
    instance.log_file.touch(mode=0o600)
    with instance.log_file.open("ab") as log:
        before = log.tell()
        child = subprocess.Popen(  # noqa: S603 our own program, no shell
            [sys.executable, "-m", "mailproxy.cli", "start", instance.name, *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        server = process.running(instance)
        if server is not None and readiness(server).ready:
            return server
        if child.poll() is not None and process.running(instance) is None:
            raise Failure(
                f"{instance.name} did not start:\n{_tail(instance, before)}",
                remedy=f"The whole log: {instance.log_file}",
            )
        time.sleep(0.05)
    raise Failure(
        f"{instance.name} runs (pid {child.pid}) but is not ready after {patience:.0f} s:\n{_tail(instance, before)}",
        remedy=f"Look at it with: mail-proxy status {instance.name}   Stop it with: mail-proxy stop {instance.name}",
    )


def readiness(server: Server, timeout: Seconds = 2.0) -> Readiness:
    """What the server says at /readyz."""
    connection = http.client.HTTPConnection(server.reachable_host, server.port, timeout=timeout)
    try:
        connection.request("GET", "/readyz?verbose")
        answer = connection.getresponse()
        return Readiness(answer.status == 200, _reasons(answer.read(65536)))
    except (OSError, http.client.HTTPException) as error:
        return Readiness(False, f"no answer from port {server.port}: {error}")
    finally:
        connection.close()


def _reasons(body: bytes) -> str:
    try:
        checks = json.loads(body)["checks"].items()
        return "; ".join(f"{name}: {found['reason']}" for name, found in checks if not found["ok"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return body.decode(errors="replace").strip()


def _tail(instance: Instance, start_at: int) -> str:
    with instance.log_file.open("rb") as log:
        log.seek(start_at)
        lines = log.read().decode(errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])
