"""`make locust`: locust against a throw-away service, with a sink and a tenant application behind it.

What locust does not know is passed on to it: `--headless -u 20 -r 5 -t 30s`; without, its UI is at port 8089. Of our
own are `--postgres` (else SQLite) and `--endpoint` (attachments are fetched from the application).
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from loadtests.farend import arrivals
from loadtests.stand import Lines, fresh_database, program
from mailproxy.demo import postgres
from mailproxy.demo.endpoint import read_callbacks
from mailproxy.demo.service import Service

PATIENCE = 30.0
LOCUSTFILE = Path(__file__).with_name("locustfile.py")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--postgres", action="store_true", help="on a throw-away PostgreSQL instead of SQLite"
    )
    parser.add_argument(
        "--endpoint", action="store_true", help="attachments are fetched from the application"
    )
    given, passed_on = parser.parse_known_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mp-locust-")))
        server = stack.enter_context(postgres.server()) if given.postgres else None
        return asyncio.run(_run(folder, server, passed_on, by_endpoint=given.endpoint))


async def _run(folder: Path, server: str | None, passed_on: Sequence[str], *, by_endpoint: bool) -> int:
    database = fresh_database(server, folder, "locust")
    settings = {} if server else {"GMP_DB_PATH": database.url}
    log, reports = folder / "sink.log", folder / "application.log"
    async with (
        program("loadtests.farend", "smtp", log) as sink,
        program("loadtests.application", reports) as application,
        Service(folder, database_url=database.url if server else None, settings=settings) as service,
    ):
        environ = os.environ | {
            "LOAD_TOKEN": service.token,
            "LOAD_SMTP_PORT": sink.first,
            "LOAD_APPLICATION": f"http://127.0.0.1:{application.first}",
            "LOAD_ATTACHMENTS": "endpoint" if by_endpoint else "base64",
        }
        locust = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "locust", "-f", LOCUSTFILE, "--host", service.url, *passed_on),
            env=environ,
        )
        code = await locust.wait()
        return await _count(service, log, reports) or code


async def _count(service: Service, log: Path, reports: Path) -> int:
    """Everything accepted has to arrive, once, and to be reported; says how many."""
    async with service.client() as client:
        accepted = (await client.call("GET", "/status"))["pending"] + Lines(log).look()
        await Lines(log).reach(accepted, PATIENCE)
        while (await client.call("GET", "/status"))["pending"]:
            await asyncio.sleep(0.1)
    ids = [one.id for one in arrivals(log)]
    told = {
        item["id"] for call in read_callbacks(reports) for item in call.items if item["event_type"] == "sent"
    }
    print(
        f"{len(ids)} messages arrived, {len(ids) - len(set(ids))} of them twice; {len(told)} reported by now"
    )
    return 0 if len(ids) == len(set(ids)) else 1


if __name__ == "__main__":
    sys.exit(main())
