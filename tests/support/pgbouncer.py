"""A transaction-mode pooler before the tests' PostgreSQL: pgbouncer, where there is one."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

ENABLE = "install pgbouncer, or run `MAILPROXY_TEST_PGBOUNCER=/path/to/pgbouncer make test`"

CONFIGURATION = """
[databases]
{name} = {server} dbname={name}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {size}
logfile = {folder}/log
"""


def found() -> str | None:
    return os.environ.get("MAILPROXY_TEST_PGBOUNCER") or shutil.which(
        "pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin"
    )


class Pooler:
    """Its URL stays the same over restarts."""

    def __init__(self, folder: Path, target: str, size: int) -> None:
        info = psycopg.conninfo.conninfo_to_dict(target)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._folder = folder
        self._user = str(info.get("user") or pwd.getpwuid(os.getuid()).pw_name)
        server = {key: value for key, value in info.items() if key in ("host", "port", "user", "password")}
        (folder / "users").write_text(f'"{self._user}" "{info.get("password") or ""}"\n')
        text = CONFIGURATION.format(
            name=info["dbname"],
            server=psycopg.conninfo.make_conninfo("", **server),
            port=self._port,
            folder=folder,
            size=size,
        )
        host = str(info.get("host") or "")
        if os.geteuid() == 0:
            owner = pwd.getpwuid(Path(host).stat().st_uid) if host.startswith("/") else pwd.getpwnam("nobody")
            text += f"user = {owner.pw_name}\n"
            for path in (folder, *folder.iterdir()):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        self._file = folder / "pgbouncer.ini"
        self._file.write_text(text)
        self._file.chmod(0o644)
        self.url = f"postgresql://{self._user}@127.0.0.1:{self._port}/{info['dbname']}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = found()
        assert command is not None
        self._process = subprocess.Popen(
            [command, "-q", str(self._file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
            except OSError:
                alive = self._process.poll() is None and time.monotonic() < deadline
                assert alive, (
                    (self._folder / "log").read_text() if (self._folder / "log").exists() else "silent"
                )
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextmanager
def pooler(target: str, *, size: int = 3) -> Iterator[Pooler]:
    """One that shares `size` server connections to the database at `target`."""
    with tempfile.TemporaryDirectory(prefix="mailproxy-pooler-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        one = Pooler(folder, target, size)
        one.start()
        try:
            yield one
        finally:
            one.kill()
