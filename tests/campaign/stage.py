"""Where a campaign is played: nodes of the service, their database and disks, a mail server, a tenant."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from tests.campaign.histories import HOLD, RETRY, Book
from tests.conftest import KEY
from tests.process.peers import SmtpServer, TenantEndpoint, smtp_server, tenant_endpoint
from tests.process.service import Service
from tests.support.postgres_server import PostgresServer, own_server

TENANT = "c"
ACCOUNTS = {"hold-1": HOLD, "hold-2": HOLD, "retry-1": RETRY, "retry-2": RETRY}
LEASE = 2.0
DOT = 1.5
SESSIONS = 5
DISK = 256 << 20


class Node(Service):
    """A node whose senders wait less long for the reply to a dot, and are perhaps careless."""

    def __init__(self, number: int, folder: Path, environ: Mapping[str, str], *, careless: bool) -> None:
        super().__init__(
            folder,
            environ,
            GMP_LEASE_SECONDS=f"{LEASE:g}",
            GMP_DRAIN_SECONDS="10",
            GMP_SENDER_CONNECTIONS=str(SESSIONS),
            GMP_API_WORKERS="1" if "GMP_DB_PATH" in environ else "2",
            GMP_MIN_FREE_DISK_MB="0",
            GMP_MAX_RETRIES="3",
        )
        self.number = number
        self._careless = careless

    def program(self) -> list[str]:
        careless = ["--careless"] if self._careless else []
        return ["tests.campaign.serve", str(self.port), str(DOT), *careless]

    def senders(self) -> list[int]:
        """The senders at work; none while there is no supervisor."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return self.pids("sender")
        return []


@dataclass(frozen=True, slots=True)
class Stage:
    """`disk` is the small file system with the state of the first node, where one can be made."""

    nodes: tuple[Node, ...]
    smtp: SmtpServer
    endpoint: TenantEndpoint
    postgres: PostgresServer | None
    disk: Path | None
    accepted: Book
    faults: Book

    def waiting(self) -> int | None:
        """How many messages have not ended, by any node that says so."""
        for node in self.nodes:
            with contextlib.suppress(httpx.TransportError, AssertionError):
                return int(node.call("GET", "/status")["pending"])
        return None

    def states(self) -> dict[str, str]:
        found: dict[str, str] = {}
        query: dict[str, object] = {"include_payload": False, "limit": 5000}
        while True:
            page = self.nodes[0].call("GET", "/messages", None, tenant_id=TENANT, **query)
            found |= {one["id"]: one["status"] for one in page["messages"]}
            if "next_cursor" not in page:
                return found
            query["cursor"] = page["next_cursor"]


@contextlib.contextmanager
def stage(folder: Path, dialect: str, *, careless: bool = False) -> Iterator[Stage]:
    """Everything started; nothing of it is left afterwards."""
    with contextlib.ExitStack() as stack:
        accepted, faults = Book(folder / "accepted.jsonl"), Book(folder / "faults.jsonl")
        stack.callback(accepted.close)
        stack.callback(faults.close)
        smtp = stack.enter_context(smtp_server(folder / "sink.log"))
        endpoint = stack.enter_context(tenant_endpoint(folder / "callbacks.log"))
        disk = stack.enter_context(_small_disk(folder / "disk"))
        homes = [disk or folder / "node-1"]
        postgres = None
        database = {"GMP_DB_PATH": str(homes[0] / "mail.db")}
        if dialect == "postgres":
            postgres = stack.enter_context(own_server())
            database = {"GMP_DATABASE_URL": postgres.url}
            homes.append(folder / "node-2")
        nodes = []
        for number, home in enumerate(homes):
            logs = folder / f"logs-{number + 1}"
            logs.mkdir()
            home.mkdir(exist_ok=True)
            environ = {**database, "MAIL_PROXY_ENCRYPTION_KEY": KEY, "GMP_STATE_DIR": str(home / "state")}
            node = Node(number, logs, environ, careless=careless)
            stack.callback(node.end)
            nodes.append(node)
        with ThreadPoolExecutor() as pool:
            list(pool.map(Node.start, nodes))
        _furnish(nodes[0], smtp, endpoint)
        yield Stage(tuple(nodes), smtp, endpoint, postgres, disk, accepted, faults)


def _furnish(node: Node, smtp: SmtpServer, endpoint: TenantEndpoint) -> None:
    node.add_tenant(TENANT, endpoint.url)
    for account, policy in ACCOUNTS.items():
        node.add_account(TENANT, account, smtp.port, on_unknown_outcome=policy)


@contextlib.contextmanager
def _small_disk(place: Path) -> Iterator[Path | None]:
    """A file system of its own in memory, where we may make one."""
    if os.geteuid() != 0:
        yield None
        return
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
