"""A database file belongs on a local disk."""

import os
from pathlib import Path, PurePath

import pytest

from mailproxy.errors import ConfigurationError
from sql.sqlite import place
from sql.sqlite.engine import connect
from sql.sqlite.place import require_writable

MOUNTS = """\
22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw
30 22 0:26 / /srv rw shared:5 - nfs4 server:/export rw,vers=4.2
31 30 0:27 / /srv/local\\040disk rw - xfs /dev/vdb rw
32 22 0:28 / /home rw - autofs systemd-1 rw
33 22 0:29 / /home rw - cifs //server/home rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/mail.db", "ext4"),
        ("/srv/mail.db", "nfs4"),
        ("/srvmail.db", "ext4"),
        ("/srv/local disk/mail.db", "xfs"),
        ("/home/me/mail.db", "cifs"),
    ],
)
def test_the_deepest_and_latest_mount_counts(path: str, kind: str) -> None:
    assert place.file_system(PurePath(path), MOUNTS) == kind


def test_a_network_file_system_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    monkeypatch.setattr(place, "MOUNTS", mounts)
    with pytest.raises(ConfigurationError, match="nfs4"):
        place.require_local(Path("/srv/mail.db"))
    place.require_local(Path("/var/lib/mail.db"))
    monkeypatch.setattr(place, "MOUNTS", tmp_path / "nowhere")
    place.require_local(Path("/srv/mail.db"))


def test_the_database_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        connection = connect(tmp_path / "mail.db")
    finally:
        os.umask(before)
    connection.execute("CREATE TABLE t (x)")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    connection.close()
    assert modes == dict.fromkeys(("mail.db", "mail.db-wal", "mail.db-shm"), 0o600)


def test_a_database_that_cannot_be_made_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "nowhere" / "mail.db", tmp_path / "file" / "mail.db"):
        with pytest.raises(ConfigurationError, match="make its folder"):
            require_writable(path)
