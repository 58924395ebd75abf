"""The key file beside an SQLite database and the node's name."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mailproxy.config import Settings
from mailproxy.errors import ConfigurationError
from mailproxy.keyfile import ensure_key_file, key_ring, node_id


def test_a_key_file_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "mail.db.key"
    with ThreadPoolExecutor(8) as pool:
        rings = set(pool.map(ensure_key_file, [path] * 32))
    assert len(rings) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_file_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    ensure_key_file(path)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        ensure_key_file(path)


def test_a_file_without_a_key_is_refused_and_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("canary-77aa")
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="base64 of 32 bytes") as raised:
        ensure_key_file(path)
    assert "canary" not in str(raised.value)


def test_the_key_of_an_sqlite_database_lies_beside_it(tmp_path: Path) -> None:
    settings = Settings(db_path=str(tmp_path / "mail.db"))
    assert key_ring(settings) == ensure_key_file(tmp_path / "mail.db.key")


def test_postgresql_gets_no_key_file() -> None:
    with pytest.raises(ConfigurationError, match="MAIL_PROXY_ENCRYPTION_KEY"):
        key_ring(Settings(db_path="postgresql://127.0.0.1/x"))


def test_a_node_keeps_its_name(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "deep" / "state")
    name = node_id(settings)
    assert node_id(settings) == name
    assert settings.state_dir.stat().st_mode & 0o777 == 0o700
    assert node_id(Settings(state_dir=tmp_path / "other")) != name
    assert node_id(Settings(node_id="n1")) == "n1"


def test_a_damaged_node_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "node_id").write_text("a b\n")
    with pytest.raises(ConfigurationError, match="GMP_NODE_ID"):
        node_id(Settings(state_dir=tmp_path))


def test_a_folder_that_cannot_be_used_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = Settings(state_dir=tmp_path / "file" / "state")
    with pytest.raises(ConfigurationError, match=r"file/state cannot be written: .*GMP_STATE_DIR"):
        node_id(settings)
    for place in ("file", "nowhere"):
        with pytest.raises(ConfigurationError, match=rf"{place}/key cannot be written: .*make its folder"):
            ensure_key_file(tmp_path / place / "key")
