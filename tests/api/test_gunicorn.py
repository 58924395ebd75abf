"""The API as the supervisor runs it: real gunicorn, its workers, and signals."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from mailproxy.api.launch import WORKER_CLASS
from mailproxy.config import Settings
from tests.api.conftest import ADMIN, free_socket, message

PATIENCE = 20.0
WORKER = "tests.api.impatient.ImpatientWorker"


def _serving(fd: int, worker_class: str) -> list[str]:
    serve = f"launch.serve(config.load(os.environ), {fd}, worker_class={worker_class!r})"
    program = (
        f"import os, sys; from mailproxy import config; from mailproxy.api import launch; sys.exit({serve})"
    )
    return [sys.executable, "-c", program]


class Gunicorn:
    """A running gunicorn on a socket of ours, and its workers."""

    def __init__(self, settings: Settings, environ: dict[str, str], log: Path) -> None:
        self._listener = free_socket()
        self.port = self._listener.getsockname()[1]
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                _serving(self._listener.fileno(), WORKER),
                pass_fds=[self._listener.fileno()],
                env={
                    **environ,
                    "PYTHONPATH": str(Path(__file__).parents[2]),
                    "GMP_API_WORKERS": str(settings.api_workers),
                },
                stdout=output,
                stderr=output,
            )
        self.workers: set[psutil.Process] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, headers={"X-API-Token": ADMIN}, timeout=PATIENCE, trust_env=False, verify=False
        )

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def wait_for_workers(self, count: int) -> None:
        master = psutil.Process(self.process.pid)

        def up() -> bool:
            self.workers = set(master.children())
            with self.client() as client:
                return len(self.workers) == count and client.get("/readyz").status_code == 200

        self.wait_until(up)

    def stop(self) -> None:
        for process in (self.process, *self.workers):
            if psutil.pid_exists(process.pid):
                os.kill(process.pid, signal.SIGKILL)
        self.process.wait()
        self._listener.close()


@pytest.fixture
def gunicorn(settings: Settings, environ: dict[str, str], tmp_path: Path) -> Iterator[Gunicorn]:
    running = Gunicorn(settings.model_copy(update={"api_workers": 2}), environ, tmp_path / "log")
    try:
        running.wait_for_workers(2)
        yield running
    finally:
        running.stop()


def test_gunicorn_serves_and_stops_gracefully_with_requests_under_way(gunicorn: Gunicorn) -> None:
    with gunicorn.client() as client:
        key = client.post("/tenant", json={"id": "acme"}).json()["api_key"]
        client.post("/account", json={"id": "main", "tenant_id": "acme", "host": "127.0.0.1", "port": 25})
    body = httpx.Request("POST", gunicorn.url, json={"messages": [message()]}).content
    statuses = asyncio.run(_finish_during_stop(gunicorn, key, body))
    assert statuses == [200] * 4
    gunicorn.process.wait(PATIENCE)
    assert gunicorn.process.returncode == 0
    gunicorn.wait_until(lambda: not any(worker.is_running() for worker in gunicorn.workers))
    log = gunicorn.log.read_text()
    assert "Traceback" not in log
    assert "Error while closing socket" not in log


async def _finish_during_stop(gunicorn: Gunicorn, key: str, body: bytes) -> list[int]:
    head = (
        f"POST /commands/add-messages HTTP/1.1\r\nHost: x\r\nX-API-Token: {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    streams = [await asyncio.open_connection("127.0.0.1", gunicorn.port) for _ in range(4)]
    for _, writer in streams:
        writer.write(head.encode() + body[:-5])
        await writer.drain()
    await asyncio.to_thread(gunicorn.wait_until, lambda: _connections(gunicorn) >= 4)
    gunicorn.process.terminate()
    await asyncio.to_thread(gunicorn.wait_until, lambda: "Handling signal" in gunicorn.log.read_text())
    statuses = []
    for reader, writer in streams:
        writer.write(body[-5:])
        async with asyncio.timeout(PATIENCE):
            statuses.append(int((await reader.read()).split()[1]))
        writer.close()
    return statuses


def test_a_request_that_is_on_its_way_when_gunicorn_stops_is_answered(gunicorn: Gunicorn) -> None:
    statuses = asyncio.run(_ask_during_stop(gunicorn))
    assert statuses == [200] * 8
    gunicorn.process.wait(PATIENCE)
    assert "Traceback" not in gunicorn.log.read_text()


async def _ask_during_stop(gunicorn: Gunicorn) -> list[int]:
    """Over connections that have not been used, and over such as are kept alive."""
    ask = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    streams = [await asyncio.open_connection("127.0.0.1", gunicorn.port) for _ in range(8)]
    async with asyncio.timeout(PATIENCE):
        for reader, writer in streams[:4]:
            writer.write(ask)
            await reader.readuntil(b"}")
        gunicorn.process.terminate()
        for _, writer in streams:
            writer.write(ask)
        answers = [await reader.read() for reader, _ in streams]
    for _, writer in streams:
        writer.close()
    return [int(answer.split()[1]) for answer in answers]


def _connections(gunicorn: Gunicorn) -> int:
    return sum(
        connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == gunicorn.port
        for worker in gunicorn.workers
        for connection in worker.net_connections("tcp")
    )


def test_workers_leave_when_their_master_is_killed(gunicorn: Gunicorn) -> None:
    gunicorn.process.kill()
    gunicorn.wait_until(lambda: not any(_lives(worker) for worker in gunicorn.workers))


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_a_killed_worker_is_replaced_and_the_port_stays_open(gunicorn: Gunicorn) -> None:
    killed = next(iter(gunicorn.workers))
    killed.kill()
    master = psutil.Process(gunicorn.process.pid)
    gunicorn.wait_until(lambda: len([w for w in master.children() if w != killed and _lives(w)]) == 2)
    gunicorn.workers |= set(master.children())
    with gunicorn.client() as client:
        for _ in range(10):
            assert client.get("/status").status_code == 200


def test_silent_connections_and_half_headers_are_cut(gunicorn: Gunicorn) -> None:
    closed = asyncio.run(_held_open(gunicorn.port))
    assert closed[:2] == [b"", b"HTTP/1.1 408 "]
    with gunicorn.client() as client:
        assert client.get("/health").status_code == 200


async def _held_open(port: int) -> list[bytes]:
    seen = []
    for opening in (b"", b"GET /health HTTP/1.1\r\nHo"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(opening)
        async with asyncio.timeout(PATIENCE):
            seen.append((await reader.read())[:13])
        writer.close()
    return seen


def test_metrics_add_up_over_the_workers(gunicorn: Gunicorn) -> None:
    for _ in range(12):
        with gunicorn.client() as client:
            assert client.get("/livez").status_code == 200
    with gunicorn.client() as client:
        text = client.get("/metrics").text
    assert 'gmp_http_request_seconds_count{method="GET",route="/livez",status="200"} 12.0' in text
    assert "/livez" not in gunicorn.log.read_text(), "a line a request costs time, and nobody asked for it"


def test_a_configuration_that_does_not_fit_ends_gunicorn(settings: Settings, environ: dict[str, str]) -> None:
    listener = free_socket()
    wrong = subprocess.run(
        _serving(listener.fileno(), WORKER_CLASS),
        pass_fds=[listener.fileno()],
        env=environ | {"GMP_PORT": "many"},
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    listener.close()
    assert wrong.returncode != 0
    assert b"GMP_PORT" in wrong.stderr
