"""The unit as systemd's own tools judge it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
EXPOSURE_ALLOWED = 20  # tenths

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: apt-get install systemd"
)


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unit with its drop-in, and with a program that exists on this machine."""
    folder = tmp_path_factory.mktemp("units")
    unit = folder / "mail-proxy.service"
    text = (UNITS / unit.name).read_text()
    assert text.count("/opt/mail-proxy/bin/mail-proxy") == 1
    unit.write_text(text.replace("/opt/mail-proxy/bin/mail-proxy", sys.executable))
    drop_ins = folder / "mail-proxy.service.d"
    drop_ins.mkdir()
    shutil.copy(UNITS / "postgresql.conf", drop_ins)
    return unit


def _analyze(*arguments: str, unit: Path) -> str:
    result = subprocess.run(
        ["systemd-analyze", *arguments, str(unit)],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{unit.parent}:"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_systemd_has_nothing_to_say_against_the_unit(unit: Path) -> None:
    said = _analyze("verify", "--man=no", unit=unit)
    assert [line for line in said.splitlines() if "mail-proxy" in line] == []


def test_little_of_the_machine_is_exposed_to_the_service(unit: Path) -> None:
    said = _analyze("security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_ALLOWED}", unit=unit)
    assert "Overall exposure level" in said
