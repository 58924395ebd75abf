"""What is shipped, and the house rules a machine can hold."""

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from docs.generate import PAGES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
WRITTEN = [*DOCS.glob("*.md"), *DOCS.glob("it/*.md")]
PACKAGES = ("mailproxy", "workers", "supervisor", "sql")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_installs_four_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = {name.split("/")[0] for name in wheel.namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == set(PACKAGES)


def test_the_wheel_holds_every_query_and_migration(wheel: zipfile.ZipFile) -> None:
    shipped = {name for name in wheel.namelist() if name.endswith(".sql")}
    assert shipped == {str(path.relative_to(ROOT)) for path in (ROOT / "sql").rglob("*.sql")}
    assert "sql/sqlite/migrations/0001_queue.sql" in shipped


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short_enough_to_be_read(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    functions = (
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    )
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions if f.end_lineno - f.lineno + 1 > 40}  # type: ignore[operator]
    assert not long


def test_sql_stands_in_sql_files_only() -> None:
    words = ("INSERT INTO ", "DELETE FROM ", "UPDATE q ", "SELECT id")
    outside = [p for p in MODULES if p.parts[-2] not in ("sql", "sqlite", "postgres") or "sql" not in p.parts]
    guilty = [str(p) for p in outside if any(word in p.read_text() for word in words)]
    assert not guilty


def test_a_server_on_sqlite_reads_nothing_of_postgresql() -> None:
    """Nor of gunicorn, which is another program: what the supervisor has not read costs its children nothing."""
    look = "import sys, mailproxy.cli.main, mailproxy.cli.composition; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True)
    unwanted = {"psycopg", "psycopg_pool", "procrastinate", "gunicorn", "uvicorn", "starlette"}
    assert not unwanted & set(done.stdout.split())


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_is_written_from_the_code_is_up_to_date(name: str) -> None:
    committed = (DOCS / name).read_text()
    assert PAGES[name]() == committed, "run `python -m docs.generate`"


def test_every_page_is_in_the_table_of_contents() -> None:
    named = set(re.findall(r"^([\w./*-]+)$", (DOCS / "index.md").read_text(), re.MULTILINE))
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in WRITTEN} - {"index"}
    wanted = {"it/*" if page.startswith("it/") else page for page in pages}
    assert {name for name in named if not name.startswith("../")} == wanted, "name them in docs/index.md"


def test_links_between_pages_lead_somewhere() -> None:
    pages = [*WRITTEN, *ROOT.glob("*.md"), ROOT / "deploy" / "README.md"]
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in pages
        for link in re.findall(
            r"\]\(([^)#\s]+)(?:#[^)]*)?\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
        )
        if "://" not in link and not (page.parent / link).exists()
    ]
    assert broken == []
