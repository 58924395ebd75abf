"""Servers known by name."""

import json
import stat
from pathlib import Path

import pytest

from mailproxy.client import ClientError, UnknownConnection, connect, connections, register_connection


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GMP_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_registered_server_is_found_by_its_name(home: Path) -> None:
    register_connection("here", "http://127.0.0.1:1/", "secret", "acme")
    with connect("here") as proxy:
        assert (proxy.url, proxy.name, proxy.tenant_id) == ("http://127.0.0.1:1", "here", "acme")
    assert not home.exists()
    with connect("http://127.0.0.1:2") as proxy:
        assert proxy.url == "http://127.0.0.1:2"


def test_a_saved_server_is_found_by_later_processes(home: Path) -> None:
    register_connection("saved", "http://127.0.0.1:3", "secret", save=True)
    register_connection("second", "http://127.0.0.1:4", save=True)
    file = home / "connections.json"
    assert json.loads(file.read_text()) == {
        "saved": {"url": "http://127.0.0.1:3", "token": "secret"},
        "second": {"url": "http://127.0.0.1:4"},
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text(json.dumps({"by hand": {"url": "http://127.0.0.1:5", "tenant_id": "acme"}}))
    with connect("by hand", tenant_id="other") as proxy:
        assert (proxy.url, proxy.tenant_id) == ("http://127.0.0.1:5", "other")


@pytest.mark.parametrize("kept", [None, "{}", "[]", "{", '{"x": {"host": "y"}}', '{"x": {}}', '{"x": 1}'])
def test_a_name_that_leads_nowhere_is_said(kept: str | None, home: Path) -> None:
    home.mkdir()
    if kept is not None:
        (home / "connections.json").write_text(kept)
    with pytest.raises(UnknownConnection, match=r"x|connections\.json") as told:
        connect("x")
    assert isinstance(told.value, ClientError)


def test_no_token_shows() -> None:
    assert "secret" not in repr(connections.Where("http://127.0.0.1:1", "secret"))
