"""What the image is made of, and how it says whether it is healthy."""

import re
import subprocess
import sys
from pathlib import Path

from tests.process.service import running

ROOT = Path(__file__).parents[2]
CONTAINER = ROOT / "deploy" / "container"


def _pins(lock: Path) -> set[str]:
    return set(re.findall(r"^[^\s#]+==\S+", lock.read_text(), re.MULTILINE))


def _healthcheck(port: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CONTAINER / "healthcheck.py")]
    return subprocess.run(command, env={"GMP_PORT": str(port)}, capture_output=True, text=True, check=False)


def test_the_image_is_built_from_the_versions_that_are_tested() -> None:
    tested = _pins(ROOT / "requirements.lock")
    for lock in ("run.lock", "build.lock"):
        assert _pins(CONTAINER / lock) <= tested, "renew both: make lock"


def test_the_health_check_follows_the_service(tmp_path: Path) -> None:
    with running(tmp_path, {"GMP_DB_PATH": str(tmp_path / "mail.db")}) as service:
        healthy = _healthcheck(service.port)
        assert (healthy.returncode, '"ok":true' in healthy.stdout.replace(" ", "")) == (0, True)
        service.stop()
        gone = _healthcheck(service.port)
        assert (gone.returncode, gone.stdout.split(":")[0]) == (1, f"no answer from port {service.port}")


def test_everything_the_dockerfile_copies_exists_and_is_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text()
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )?(.+) \S+$", (CONTAINER / "Dockerfile").read_text(), re.M)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name
        kept = re.sub(r"[^/]+\.lock$", "*.lock", name)
        assert f"!{kept}\n" in ignored, name
