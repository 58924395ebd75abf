"""Nodes of one database restarted one after the other under load: no client sees an error (RELIABILITY H15)."""

import itertools
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.process.conftest import add_tenant, database
from tests.process.peers import SmtpServer, TenantEndpoint, letters
from tests.process.service import ADMIN, Service, running, until
from tests.process.test_kills import check_that_nothing_is_lost_or_doubled

CLIENTS, BATCH = 4, 2
ROLES = ("api", "scout", "reporter", "maintenance", "sender")


class Callers:
    """Clients that post without a pause, each call on a connection of its own to the next node.

    A node that refuses the connection is passed over, as any balancer does; all else that is not a 2xx is an error.
    """

    def __init__(self, ports: list[int], tenant: str) -> None:
        self.accepted: set[str] = set()
        self.errors: list[str] = []
        self._ports = ports
        self._tenant = tenant
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(CLIENTS)]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, turn: int) -> None:
        while not self._stop.is_set():
            turn += 1
            start = next(self._numbers) * BATCH
            batch = letters(self._tenant, "main", range(start, start + BATCH), to="slow20@example.com")
            ports = [self._ports[(turn + n) % len(self._ports)] for n in range(len(self._ports))]
            self._post(ports, batch)
            self._stop.wait(0.05)

    def _post(self, ports: list[int], batch: list[dict[str, object]]) -> None:
        for port in ports:
            try:
                answer = httpx.post(
                    f"http://127.0.0.1:{port}/commands/add-messages",
                    json={"messages": batch},
                    headers={"X-API-Token": ADMIN, "Connection": "close"},
                    timeout=20.0,
                    trust_env=False,
                )
            except httpx.ConnectError:
                continue
            except httpx.TransportError as error:
                self.errors.append(repr(error))
                return
            if answer.status_code != 200:
                self.errors.append(f"{answer.status_code} {answer.text[:200]}")
            self.accepted |= {one["id"] for one in answer.json().get("accepted", ())}
            return
        self.errors.append("no node takes connections")


@pytest.fixture(scope="module")
def nodes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Service]]:
    folder = tmp_path_factory.mktemp("nodes")
    with ExitStack() as stack:
        environ = stack.enter_context(database("postgres", folder, request))
        settings = {"GMP_API_WORKERS": "2", "GMP_LEASE_SECONDS": "3", "GMP_DRAIN_SECONDS": "10"}
        yield [
            stack.enter_context(running(folder / name, environ, GMP_NODE_ID=name, **settings))
            for name in ("first", "second")
        ]


@pytest.mark.timeout(180)
def test_nodes_are_restarted_one_by_one_and_no_client_sees_an_error(
    nodes: list[Service], smtp: SmtpServer, endpoint: TenantEndpoint
) -> None:
    tenant = add_tenant(nodes[0], smtp, endpoint)
    with Callers([node.port for node in nodes], tenant) as callers:
        for node in nodes:
            more_goes_through(callers, smtp, tenant, nodes)
            assert node.stop() == 0
            assert node.members() == []
            more_goes_through(callers, smtp, tenant, nodes)
            node.start()
        more_goes_through(callers, smtp, tenant, nodes)
    assert callers.errors == []
    check_that_nothing_is_lost_or_doubled(nodes[0], tenant, callers.accepted, smtp, endpoint, in_doubt=0)


@pytest.mark.timeout(180)
def test_a_node_that_is_alone_reloads_and_no_client_sees_an_error(
    nodes: list[Service], smtp: SmtpServer, endpoint: TenantEndpoint
) -> None:
    node = nodes[0]
    tenant = add_tenant(node, smtp, endpoint)
    with Callers([node.port], tenant) as callers:
        more_goes_through(callers, smtp, tenant, [node])
        before = {pid for role in ROLES for pid in node.pids(role)}
        node.signal(signal.SIGHUP)
        until(
            lambda: not before & {pid for role in ROLES for pid in node.pids(role)}, 60.0, so=node.last_words
        )
        more_goes_through(callers, smtp, tenant, [node])
    assert callers.errors == []
    check_that_nothing_is_lost_or_doubled(node, tenant, callers.accepted, smtp, endpoint, in_doubt=0)


def more_goes_through(callers: Callers, smtp: SmtpServer, tenant: str, nodes: list[Service]) -> None:
    accepted, arrived = len(callers.accepted) + 20, len(smtp.times(tenant)) + 20
    until(
        lambda: len(callers.accepted) >= accepted and len(smtp.times(tenant)) >= arrived,
        30.0,
        so=lambda: "\n".join(node.last_words() for node in nodes),
    )
