"""Where an SQLite file must not be: WAL needs shared memory, and a network file system has none."""

import os
from contextlib import suppress
from pathlib import Path, PurePath

from mailproxy.errors import ConfigurationError

NETWORK = frozenset(
    [
        "afs",
        "ceph",
        "cifs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
    ]
)
MOUNTS = Path("/proc/self/mountinfo")


def file_system(path: PurePath, mounts: str) -> str | None:
    """The type of the file system an absolute path is on, by the text of Linux's mountinfo (proc(5))."""
    found: tuple[int, str] | None = None
    below = f"{path}/"
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].replace("\\040", " ").rstrip("/") + "/"
        if below.startswith(point) and (found is None or len(point) >= found[0]):
            found = len(point), after.split()[0]
    return found and found[1]


def require_local(database: Path) -> None:
    """Raises ConfigurationError for a database on a network file system; says nothing where that cannot be told."""
    try:
        mounts = MOUNTS.read_text()
    except OSError:
        return
    kind = file_system(database.resolve(), mounts)
    if kind in NETWORK:
        raise ConfigurationError(
            f"{database} is on a network file system ({kind}), where SQLite loses data: use a local disk or PostgreSQL"
        )


def make_private(database: Path) -> None:
    """Create the file for its owner alone, as it holds mail; SQLite gives `-wal` and `-shm` the same mode."""
    with suppress(FileExistsError):
        os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def require_writable(database: Path) -> None:
    """Raises ConfigurationError unless the file is there, or was made, in a folder that takes its neighbours."""
    try:
        make_private(database)
    except OSError as error:
        raise ConfigurationError(
            f"{database} cannot be made: {error.strerror}: make its folder, and let this user write there"
        ) from error
    for path in (database.absolute().parent, database):
        if not os.access(path, os.W_OK):
            raise ConfigurationError(
                f"{path} cannot be written by this user: SQLite writes to {database} and to files beside it"
            )
