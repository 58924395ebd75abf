"""B48: a path names a regular file below a folder of the operator's, or nothing."""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from mailproxy.attachments import files
from mailproxy.attachments.held import Held
from mailproxy.attachments.judgement import Failed
from tests.attachments.conftest import Making

OUTSIDE = "path_not_allowed"


def outside(base: Path) -> Path:
    secret = base.parent / "secret.txt"
    secret.write_text("secret")
    return secret


def linked(base: Path) -> str:
    (base / "link").symlink_to(outside(base))
    return "link"


def linked_folder(base: Path) -> str:
    outside(base)
    (base / "up").symlink_to(base.parent)
    return "up/secret.txt"


def linked_inside(base: Path) -> str:
    (base / "real").write_text("x")
    (base / "alias").symlink_to("real")
    return "alias"


def hard_linked(base: Path) -> str:
    os.link(outside(base), base / "hard")
    return "hard"


def fifo(base: Path) -> str:
    os.mkfifo(base / "fifo")
    return "fifo"


def folder(base: Path) -> str:
    (base / "folder").mkdir()
    return "folder"


def listening(base: Path) -> str:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(base)
        try:
            server.bind("sock")
        finally:
            os.chdir(here)
    return "sock"


def file_as_folder(base: Path) -> str:
    (base / "file").write_text("x")
    return "file/below"


def sparse(base: Path) -> str:
    with (base / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    return "sparse"


@pytest.mark.parametrize(
    ("place", "cause"),
    [
        (lambda base: "/etc/passwd", OUTSIDE),
        (lambda base: "../secret.txt", OUTSIDE),
        (lambda base: f"{base}/../secret.txt", OUTSIDE),
        (lambda base: f"{base}-more/x", OUTSIDE),
        (str, OUTSIDE),
        (lambda base: ".", OUTSIDE),
        (lambda base: "/dev/zero", OUTSIDE),
        (lambda base: "/proc/self/environ", OUTSIDE),
        (lambda base: "a\0b", OUTSIDE),
        (lambda base: "x" * 300, OUTSIDE),
        (lambda base: "none", "no such file"),
        (lambda base: "none/at/all", "no such file"),
        (linked, OUTSIDE),
        (linked_folder, OUTSIDE),
        (linked_inside, OUTSIDE),
        (hard_linked, OUTSIDE),
        (fifo, OUTSIDE),
        (folder, OUTSIDE),
        (listening, OUTSIDE),
        (file_as_folder, OUTSIDE),
        (sparse, "attachment_too_large"),
    ],
)
async def test_what_is_no_file_of_the_folder_is_refused_for_good(
    fetching: Making, base: Path, place: Callable[[Path], str], cause: str
) -> None:
    found = await fetching().file(place(base))
    assert isinstance(found, Failed)
    assert found.cause.startswith(cause)
    assert not found.temporary
    assert "secret" not in found.cause


@pytest.mark.parametrize("root", [Path("/"), Path("/proc"), Path("/dev")])
async def test_a_folder_too_wide_does_not_open_the_kernel(fetching: Making, root: Path) -> None:
    for location in ("/proc/self/environ", "/dev/zero", "self/environ", "zero"):
        found = await fetching(attachment_base_dir=(root,)).file(location)
        assert isinstance(found, Failed), location


async def test_without_a_folder_nothing_is_read(fetching: Making) -> None:
    found = await fetching(attachment_base_dir=()).file("a.txt")
    assert found == Failed(
        "path_not_allowed: Relative path 'a.txt' not allowed without base_dir configuration"
    )


async def test_a_file_is_found_below_the_first_folder_that_has_it(
    fetching: Making, base: Path, tmp_path: Path
) -> None:
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "a.txt").write_bytes(b"two")
    (tmp_path / "alias").symlink_to(tmp_path / "second")
    both = fetching(attachment_base_dir=(base, tmp_path / "alias"))
    for location in ("a.txt", "./a.txt", f"{tmp_path}/alias/a.txt", f"{tmp_path}/second//a.txt"):
        found = await both.file(location)
        assert isinstance(found, Held), location
        assert found.octets == b"two"


async def test_a_file_swapped_for_a_link_is_not_followed(fetching: Making, base: Path) -> None:
    """What counts is what was opened: between the check of a path and its opening there is no moment."""
    secret = outside(base)
    target = base / "a.txt"
    stop = asyncio.Event()

    async def swap() -> None:
        while not stop.is_set():
            target.unlink(missing_ok=True)
            target.symlink_to(secret)
            await asyncio.sleep(0)
            target.unlink()
            target.write_text("ours")
            await asyncio.sleep(0)

    one = fetching()
    swapping = asyncio.create_task(swap())
    try:
        for _ in range(200):
            found = await one.file("a.txt")
            assert isinstance(found, Failed) or b"".join(found.chunks(10)) in (b"ours", b"")
    finally:
        stop.set()
        await swapping


def test_a_file_that_grows_is_read_to_the_limit_only(base: Path, tmp_path: Path) -> None:
    growing = base / "log"
    growing.write_bytes(b"x" * 100)
    asked = 0

    def grow() -> bool:
        nonlocal asked
        asked += 1
        with growing.open("ab") as file:
            file.write(b"x" * 100_000)
        return False

    found = files.read("log", (base,), most=1_000_000, spool=tmp_path / "spool", is_late=grow)
    assert isinstance(found, Failed)
    assert found.cause.startswith("attachment_too_large")
    assert asked <= 11


def test_reading_ends_with_its_deadline(base: Path, tmp_path: Path) -> None:
    (base / "a").write_bytes(b"x" * 1_000_000)
    found = files.read("a", (base,), most=2_000_000, spool=tmp_path / "spool", is_late=lambda: True)
    assert isinstance(found, Failed)
    assert found.temporary


async def test_long_content_lies_in_a_file_that_has_no_name(
    fetching: Making, base: Path, tmp_path: Path
) -> None:
    (base / "a").write_bytes(bytes(range(256)) * 7000)
    found = await fetching().file("a")
    assert isinstance(found, Held)
    assert found.octets is None
    assert b"".join(found.chunks(4097)) == bytes(range(256)) * 7000
    assert list((tmp_path / "state" / "spool").iterdir()) == []
