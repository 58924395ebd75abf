"""`make locust`: locust against a throw-away service, with a sink and the tenants' application behind it.

What locust does not know is passed on to it: `--headless -u 20 -r 5 -t 30s`; without, its UI is at port 8089. Of our
own are `--postgres` (else SQLite) and `--endpoint` (attachments are fetched from the application). The exit code is 1
when anything accepted did not arrive once, or was not reported, or a tenant was called that was not to be disturbed.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from loadtests.application import DISTURBED_PATH
from loadtests.farend import arrivals
from loadtests.stand import fresh_database, program
from mailproxy.demo import postgres
from mailproxy.demo.client import Client
from mailproxy.demo.endpoint import read_callbacks
from mailproxy.demo.service import Service

PATIENCE = 30.0
LOOK_AGAIN = 0.2
# Often enough that calls without events come while a tenant does not want them.
SYNC_INTERVAL = "5"
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
    settings = {"GMP_SYNC_INTERVAL": SYNC_INTERVAL} | ({} if server else {"GMP_DB_PATH": database.url})
    books = Books(folder)
    books.answers.touch()
    async with (
        program("loadtests.farend", "smtp", books.sink) as sink,
        program("loadtests.application", books.application) as application,
        Service(folder, database_url=database.url if server else None, settings=settings) as service,
    ):
        application_url = f"http://127.0.0.1:{application.first}"
        environ = os.environ | {
            "LOAD_TOKEN": service.token,
            "LOAD_SMTP_PORT": sink.first,
            "LOAD_APPLICATION": application_url,
            "LOAD_ATTACHMENTS": "endpoint" if by_endpoint else "base64",
            "LOAD_ACCEPTED": str(books.answers),
        }
        locust = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "locust", "-f", LOCUSTFILE, "--host", service.url, *passed_on),
            env=environ,
        )
        code = await locust.wait()
        async with service.client() as client:
            faults = await _faults(client, books)
        async with Client(application_url, "") as asked:
            faults["calls to tenants that were not to be disturbed"] = await asked.call("GET", DISTURBED_PATH)
    print(f"{books.arrived().total()} messages arrived, {len(books.told())} were reported.")
    for what, count in faults.items():
        print(f"{count} {what}")
    return 1 if any(faults.values()) else code


@dataclass(frozen=True, slots=True)
class Books:
    """What locust, the sink and the application have written down."""

    folder: Path

    @property
    def answers(self) -> Path:
        return self.folder / "accepted.log"

    @property
    def sink(self) -> Path:
        return self.folder / "sink.log"

    @property
    def application(self) -> Path:
        return self.folder / "application.log"

    def arrived(self) -> Counter[str]:
        return Counter(one.id for one in arrivals(self.sink))

    def told(self) -> set[str]:
        calls = read_callbacks(self.application)
        return {item["id"] for call in calls for item in call.items if item["event_type"] == "sent"}


async def _faults(client: Client, books: Books) -> dict[str, int]:
    """What is wrong once nothing is under way any more, or nothing has moved for PATIENCE."""

    async def pending() -> int:
        return int((await client.call("GET", "/status"))["pending"])

    async def unreported() -> int:
        return len(books.arrived().keys() - books.told())

    left = await _down(pending)
    await _down(unreported)
    # What was answered, and what was accepted though the answer found locust gone.
    accepted = {*books.answers.read_text().split(), *await _listed(client)}
    arrived = books.arrived()
    return {
        "messages are still pending": left,
        "messages were accepted and did not arrive": len(accepted - arrived.keys()),
        "messages arrived more than once": sum(times > 1 for times in arrived.values()),
        "messages arrived that were not accepted": len(arrived.keys() - accepted),
        "messages were accepted and not reported": len(accepted - books.told()),
    }


async def _down(count: Callable[[], Awaitable[int]]) -> int:
    """What is left of it: 0, or what has not become less for PATIENCE."""
    least, deadline = await count(), time.monotonic() + PATIENCE
    while least and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_AGAIN)
        if (now := await count()) < least:
            least, deadline = now, time.monotonic() + PATIENCE
    return least


async def _listed(client: Client) -> set[str]:
    """The ids of all messages that the service knows."""
    found = set()
    for tenant in await _pages(client, "/tenants?limit=500", "tenants"):
        path = f"/messages?tenant_id={tenant['id']}&include_payload=false&limit=5000"
        found |= {message["id"] for message in await _pages(client, path, "messages")}
    return found


async def _pages(client: Client, path: str, name: str) -> list[dict[str, str]]:
    answer = await client.call("GET", path)
    rows = list(answer[name])
    while cursor := answer.get("next_cursor"):
        answer = await client.call("GET", f"{path}&cursor={cursor}")
        rows += answer[name]
    return rows


if __name__ == "__main__":
    sys.exit(main())
