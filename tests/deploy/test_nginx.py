"""Two nodes behind a real nginx with the configuration of deploy/, restarted one after the other under load."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.process.conftest import add_tenant, database, endpoint, smtp
from tests.process.peers import SmtpServer, TenantEndpoint
from tests.process.service import ROOT, Service, running, until
from tests.process.test_kills import check_that_nothing_is_lost_or_doubled
from tests.process.test_rolling_restart import Callers, more_goes_through

__all__ = ["endpoint", "smtp"]

SHIPPED = ROOT / "deploy" / "container" / "nginx.conf"
OPT_IN = "MAILPROXY_TEST_NGINX"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
ROUNDS = 3


def placed(shipped: str, folder: Path, port: int, nodes: list[Service]) -> str:
    """The shipped configuration with this machine's ports and folder in place of the containers'."""
    text = shipped.replace("/tmp/", f"{folder}/").replace("listen 8000;", f"listen 127.0.0.1:{port};")
    for number, node in enumerate(nodes, 1):
        text = text.replace(f"node-{number}:8000", f"127.0.0.1:{node.port}")
    assert not re.search(r"node-\d|8000", text)
    return text


@contextmanager
def balancer(folder: Path, nodes: list[Service]) -> Iterator[int]:
    """The port of an nginx before the nodes."""
    assert NGINX is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    configuration = folder / "nginx.conf"
    configuration.write_text(placed(SHIPPED.read_text(), folder, port, nodes))
    own = "user root; " if os.getuid() == 0 else ""
    command = [NGINX, "-p", str(folder), "-c", str(configuration), "-g", f"{own}daemon off;"]
    with (folder / "nginx.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        until(lambda: answers(port), so=(folder / "nginx.log").read_text)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def answers(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.timeout(600)
def test_nodes_behind_nginx_are_restarted_one_by_one_and_no_client_sees_an_error(
    request: pytest.FixtureRequest, tmp_path: Path, smtp: SmtpServer, endpoint: TenantEndpoint
) -> None:
    if NGINX is None or OPT_IN not in os.environ:
        pytest.skip(f"apt-get install nginx-light; {OPT_IN}=1 make test ARGS='-k behind_nginx'")
    settings = {"GMP_API_WORKERS": "2", "GMP_LEASE_SECONDS": "3", "GMP_DRAIN_SECONDS": "10"}
    with ExitStack() as stack:
        environ = stack.enter_context(database("postgres", tmp_path, request))
        nodes = [
            stack.enter_context(running(tmp_path / name, environ, GMP_NODE_ID=name, **settings))
            for name in ("first", "second")
        ]
        port = stack.enter_context(balancer(tmp_path, nodes))
        tenant = add_tenant(nodes[0], smtp, endpoint)
        with Callers([port], tenant) as callers:
            for node in nodes * ROUNDS:
                more_goes_through(callers, smtp, tenant, nodes)
                assert node.stop() == 0
                more_goes_through(callers, smtp, tenant, nodes)
                node.start()
            more_goes_through(callers, smtp, tenant, nodes)
        print(f"{len(callers.accepted)} messages, {2 * ROUNDS} restarts, {len(callers.errors)} errors")
        assert callers.errors == [], (tmp_path / "nginx.log").read_text()
        check_that_nothing_is_lost_or_doubled(nodes[1], tenant, callers.accepted, smtp, endpoint, in_doubt=0)
