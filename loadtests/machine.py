"""What the machine is, and what processes cost on it."""

import os
import platform
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil


def facts() -> dict[str, object]:
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cores": os.cpu_count(),
        "cpu": model[0].partition(":")[2].strip() if model else platform.machine(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
    }


def busy_seconds() -> float:
    """CPU seconds that all processes of the machine have used, and those it was denied."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds by process, each with its role."""

    seconds: Mapping[int, float]
    roles: Mapping[int, str]

    def since(self, before: "Usage") -> dict[str, float]:
        """CPU seconds by role. What a process used before it was first seen counts as used since."""
        spent: Counter[str] = Counter()
        for pid, seconds in self.seconds.items():
            spent[self.roles[pid]] += seconds - before.seconds.get(pid, 0.0)
        return dict(spent)


def usage(roots: Mapping[str, int], named: Mapping[int, str]) -> Usage:
    """Of the trees below `roots`; a process is called as in `named`, else as its nearest ancestor."""
    seconds: dict[int, float] = {}
    roles: dict[int, str] = {}
    for role, root in roots.items():
        _collect(psutil.Process(root), role, named, seconds, roles)
    return Usage(seconds, roles)


def _collect(
    process: psutil.Process,
    role: str,
    named: Mapping[int, str],
    seconds: dict[int, float],
    roles: dict[int, str],
) -> None:
    try:
        role = named.get(process.pid, role)
        times = process.cpu_times()
        children = process.children()
    except psutil.NoSuchProcess:
        return
    # Children that ended and were waited for are in their parent's account.
    seconds[process.pid] = times.user + times.system + times.children_user + times.children_system
    roles[process.pid] = role
    for child in children:
        _collect(child, role, named, seconds, roles)


def memory(taken: Usage) -> dict[str, list[float]]:
    """Proportional set sizes in MB by role."""
    found: dict[str, list[float]] = {}
    for pid, role in taken.roles.items():
        try:
            pss = psutil.Process(pid).memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
        found.setdefault(role, []).append(round(pss / 2**20, 1))
    return found
