"""The disk is left alone only where there is enough memory to use instead."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support import memory, postgres


def _mounts(tmp_path: Path, kind: str) -> Path:
    written = tmp_path / "mountinfo"
    written.write_text(
        f"22 1 0:20 / / rw - ext4 /dev/root rw\n23 22 0:21 / {tmp_path} rw shared:2 - {kind} {kind} rw\n"
    )
    return written


@pytest.mark.parametrize(
    ("kind", "plenty", "is_used"), [("tmpfs", 1, True), ("tmpfs", 1 << 60, False), ("ext4", 1, False)]
)
def test_a_roomy_tmpfs_is_used_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, plenty: int, is_used: bool
) -> None:
    monkeypatch.setattr(memory, "PLENTY", plenty)
    assert memory.folder(tmp_path, _mounts(tmp_path, kind)) == (tmp_path if is_used else None)


def test_where_there_is_none_the_disk_is_used(tmp_path: Path) -> None:
    assert memory.folder(tmp_path / "shm", _mounts(tmp_path, "tmpfs")) is None
    assert memory.folder(tmp_path, tmp_path / "no mounts") is None


def test_what_killed_tests_left_is_removed_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    (gone := subprocess.Popen(["true"])).wait()
    for name, starter in (("mailproxy-pg-left", gone.pid), ("mailproxy-pg-used", os.getpid())):
        (tmp_path / name / "data").mkdir(parents=True)
        (tmp_path / name / "data" / ".handle_pids.json").write_text(f"[{starter}]")
    (tmp_path / "mailproxy-pg-left" / "data" / "postmaster.pid").write_text(f"{gone.pid}\n")
    (tmp_path / "mailproxy-pg-begun").mkdir()
    postgres.remove_orphans(tmp_path)
    assert {one.name for one in tmp_path.iterdir()} == {"mailproxy-pg-used", "mailproxy-pg-begun"}
