"""The load: requests made beforehand, sent over kept connections, answers checked."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from mailproxy.demo.client import Client
from mailproxy.demo.service import Service
from mailproxy.model import Seconds

TENANT = "bench"
ACCOUNT = "relay"
PER_HOUR = 1_000_000_000
CONNECTIONS = 20
"""SMTP connections of the product, the limit program, and (its own default for a destination) Postfix."""
_LINE = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eius.\n"
TEXT = (_LINE * 15)[:1024]


def message(client_id: str) -> dict[str, object]:
    """1 kB of plain text for one recipient."""
    return {
        "id": client_id,
        "account_id": ACCOUNT,
        "from": "Bench <bench@example.org>",
        "to": f"{client_id}@example.com",
        "subject": f"Invoice {client_id}",
        "body": TEXT,
    }


def ids(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number:06d}" for number in range(count)]


@dataclass(frozen=True, slots=True)
class Posted:
    """When the first request went out, when the last answer was there, and how long each took."""

    started: float
    ended: float
    seconds: Sequence[Seconds]


class Driver:
    """Posts to the service with its tenant's key."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._key = ""

    async def set_up(self, smtp_port: int, tenant_url: str) -> None:
        """A tenant with one account."""
        async with self._service.client() as client:
            made = await client.call("POST", "/tenant", {"id": TENANT, "client_base_url": tenant_url})
            self._key = made["api_key"]
            await client.call(
                "POST",
                "/account",
                {
                    "id": ACCOUNT,
                    "tenant_id": TENANT,
                    "host": "127.0.0.1",
                    "port": smtp_port,
                    "use_tls": False,
                },
            )

    async def limit(self, on: bool) -> None:
        """Put the account under a limit that is counted and never reached."""
        async with self._service.client() as client:
            path = f"/account/{ACCOUNT}?tenant_id={TENANT}"
            await client.call("PATCH", path, {"limit_per_hour": PER_HOUR if on else 0})

    async def command(self, name: str) -> None:
        async with self._service.client() as client:
            await client.call("POST", f"/commands/{name}", {})

    async def post(self, wanted: Sequence[str], *, batch: int, connections: int) -> Posted:
        """All messages, `batch` a request, each connection sending its next when it has its answer."""
        plain = self._service.client(self._key)
        requests = iter(
            [
                plain.request(
                    "POST",
                    "/commands/add-messages",
                    {
                        "messages": [message(one) for one in wanted[start : start + batch]],
                    },
                )
                for start in range(0, len(wanted), batch)
            ]
        )
        seconds: list[Seconds] = []
        async with asyncio.TaskGroup() as group:
            clients = [self._service.client(self._key) for _ in range(connections)]
            for client in clients:
                await client.__aenter__()
            started = time.time()
            for client in clients:
                group.create_task(_drain(client, requests, seconds))
        return Posted(started, time.time(), seconds)

    async def post_one_by_one(
        self, wanted: Sequence[str], pause: Seconds
    ) -> dict[str, tuple[float, Seconds]]:
        """One request after the other on an idle service: when each was sent, and how long its answer took."""
        sent = {}
        async with self._service.client(self._key) as client:
            for one in wanted:
                request = client.request("POST", "/commands/add-messages", {"messages": [message(one)]})
                begun, clock = time.time(), time.perf_counter()
                check(await client.send(request))
                sent[one] = (begun, time.perf_counter() - clock)
                await asyncio.sleep(pause)
        return sent


async def _drain(client: Client, requests: Iterator[bytes], seconds: list[Seconds]) -> None:
    try:
        for request in requests:
            begun = time.perf_counter()
            check(await client.send(request))
            seconds.append(time.perf_counter() - begun)
    finally:
        await client.__aexit__(None, None, None)


def check(answer: tuple[int, bytes]) -> None:
    status, body = answer
    if status != 200 or json.loads(body)["rejected"]:
        raise RuntimeError(f"add-messages answered {status}: {body[:500]!r}")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed."""
    ordered = sorted(values)
    return next(islice(ordered, max(0, -(-int(len(ordered) * share * 1000) // 1000) - 1), None))
