"""Postfix relaying into the same sink, where it is installed: an instance of its own, all its files in one folder."""

import asyncio
import contextlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loadtests.farend import arrivals
from loadtests.stand import Lines, far_end

PATIENCE = 20.0
SESSIONS = 10
SIZE = 1024
_NEEDED = ("postfix", "postconf", "smtp-source")


async def relay(folder: Path, messages: int) -> dict[str, Any]:
    """Its rate from the first message given to it until the sink has the last, or why there is none."""
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        return {"skipped": "it is not installed"}
    if not Path("/etc/postfix").exists() or not _is_root():
        return {"skipped": "only root can start one"}
    async with far_end(folder, None) as far:
        with _instance(folder / "postfix", far.smtp_port) as (port, version):
            started = time.time()
            source = await asyncio.create_subprocess_exec(
                *("smtp-source", "-s", str(SESSIONS), "-m", str(messages), "-l", str(SIZE)),
                *("-f", "bench@example.org", "-t", "someone@example.com", f"127.0.0.1:{port}"),
                stdout=asyncio.subprocess.DEVNULL,
            )
            with contextlib.suppress(TimeoutError):
                await Lines(far.log).reach(messages, PATIENCE)
            await source.wait()
            found = arrivals(far.log)
    if len(found) < messages:
        return {"skipped": f"only {len(found)} of {messages} messages came through"}
    return {"rate": messages / (max(one.at for one in found) - started), "version": version}


def _is_root() -> bool:
    return subprocess.run(["id", "-u"], check=True, capture_output=True, text=True).stdout.strip() == "0"


@contextmanager
def _instance(folder: Path, smtp_port: int) -> Iterator[tuple[int, str]]:
    """A running Postfix that relays everything to `smtp_port`: its own port and its version."""
    for above in (folder.parent, folder.parent.parent):
        above.chmod(0o755)  # Postfix works as another user
    etc = folder / "etc"
    for part in (etc, folder / "queue", folder / "data"):
        part.mkdir(parents=True)
    shutil.chown(folder / "data", "postfix")
    port = _free_port()
    settings = {
        "compatibility_level": "3.6",
        "queue_directory": str(folder / "queue"),
        "data_directory": str(folder / "data"),
        "daemon_directory": _default("daemon_directory"),
        "command_directory": _default("command_directory"),
        "maillog_file": str(folder / "log"),
        "maillog_file_prefixes": str(folder),
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "myhostname": "bench.invalid",
        "mydestination": "",
        "mynetworks": "127.0.0.0/8",
        "smtpd_relay_restrictions": "permit_mynetworks, reject",
        "smtpd_peername_lookup": "no",
        "smtp_dns_support_level": "disabled",
        "smtp_host_lookup": "native",
        "alias_maps": "",
        "alias_database": "",
        "relayhost": f"[127.0.0.1]:{smtp_port}",
    }
    (etc / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    (etc / "master.cf").write_text(_services(port))
    _postfix(etc, "start")
    try:
        yield port, _default("mail_version")
    finally:
        _postfix(etc, "stop")


def _services(port: int) -> str:
    """The services of the installed Postfix, unchrooted, smtpd on our port alone, with a log of its own."""
    stock = next(
        p for p in (Path("/usr/share/postfix/master.cf.dist"), Path("/etc/postfix/master.cf")) if p.exists()
    )
    lines = []
    for line in stock.read_text().splitlines():
        fields = re.match(r"([^#\s]\S*)(\s+)(inet|unix)(\s+\S\s+\S\s+)\S(\s+.*)", line)
        if fields is None:
            continue
        if fields[3] == "inet":
            lines.append(f"127.0.0.1:{port}{fields[2]}inet{fields[4]}n{fields[5]}")
        elif fields[1] != "postlog" and "pipe" not in fields[5]:
            lines.append(f"{fields[1]}{fields[2]}{fields[3]}{fields[4]}n{fields[5]}")
    return "\n".join([*lines, "postlog unix-dgram n - n - 1 postlogd", ""])


def _default(name: str) -> str:
    done = subprocess.run(["postconf", "-d", "-h", name], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _postfix(etc: Path, command: str) -> None:
    subprocess.run(["postfix", "-c", str(etc), command], check=True, capture_output=True, timeout=60)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
