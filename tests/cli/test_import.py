"""import genro: from either release, from either database."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailproxy import tokens
from mailproxy.cli.home import Instance
from mailproxy.cli.server import on_store
from mailproxy.store import Store
from tests.cli.conftest import CommandLine
from tests.cli.genro_database import OLD_KEY, TOKEN, GenroDatabase, encrypted, filled
from tests.support import postgres


@pytest.fixture(params=["0.5", "0.6"])
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def address(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the old database is: on both kinds of database."""
    if dialect == "sqlite":
        yield str(tmp_path / "old.db")
        return
    with postgres.database(request.getfixturevalue("postgres_server")) as url:
        yield url


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "old.key"
    path.write_text(base64.b64encode(OLD_KEY).decode() + "\n")
    return path


def _import(line: CommandLine, address: str, *words: object, code: int = 0) -> Any:
    result = line("import", "genro", address, "--into", "first", *words, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def _counts(told: dict[str, Any], name: str) -> tuple[int, int, int]:
    return told[name]["added"], told[name]["known"], len(told[name]["left"])


def test_everything_unsent_is_carried_over_once(
    first: Instance, mail_proxy: CommandLine, address: str, release: str, key_file: Path
) -> None:
    filled(address, release)
    keyed = ["--key-file", key_file]
    planned = _import(mail_proxy, address, *keyed)
    assert planned["applied"] is False
    assert [_counts(planned, name) for name in ("tenants", "accounts", "messages")] == [
        (2, 0, 0),
        (2, 0, 0),
        (3, 0, 0),
    ]
    assert mail_proxy.json("first", "tenants", "list") == [], "a dry run changes nothing"

    done = _import(mail_proxy, address, *keyed, "--apply")
    assert {name: done[name] for name in ("tenants", "accounts", "messages")} == {
        name: planned[name] for name in ("tenants", "accounts", "messages")
    }
    again = _import(mail_proxy, address, *keyed, "--apply")
    assert [_counts(again, name) for name in ("tenants", "accounts", "messages")] == [
        (0, 2, 0),
        (0, 2, 0),
        (0, 3, 0),
    ]

    acme = mail_proxy.json("first", "tenants", "show", "acme")
    assert (acme["name"], acme["client_base_url"]) == ("Acme", "https://acme.example")
    assert acme["client_auth"] == {"method": "bearer", "token_set": True}
    assert acme["rate_limits"] == {"hourly": 100, "daily": 0}
    assert mail_proxy.json("first", "tenants", "show", "off")["active"] is False
    main = mail_proxy.json("first", "acme", "accounts", "show", "main")
    assert (main["use_tls"], main["limit_behavior"], main["password_set"]) == (True, "defer", True)
    assert "limit_per_hour" not in main
    plain = mail_proxy.json("first", "off", "accounts", "show", "plain")
    assert (plain["port"], plain["limit_behavior"]) == (25, "reject")
    assert "use_tls" not in plain

    first_, second = sorted(mail_proxy.json("first", "acme", "messages", "list"), key=lambda one: one["id"])
    assert (first_["id"], first_["priority"], first_["status"]) == ("m1", 0, "pending")
    assert (second["id"], second["batch_code"], second["status"]) == ("m2", "b1", "suspended")
    assert second["deferred_ts"] == 2_000_000_000
    (third,) = mail_proxy.json("first", "off", "messages", "list")
    assert third["status"] == "suspended"
    _check_secrets(first)


def _check_secrets(instance: Instance) -> None:
    """Passwords open, and the tenant's old API key still works."""

    async def work(store: Store) -> None:
        principal = await store.directory.principal(tokens.hash_of(TOKEN))
        assert principal is not None
        assert principal.tenant_id == "acme"
        for tenant_id, account_id, password in (("acme", "main", "hush-hush"), ("off", "plain", "in-clear")):
            tenant = await store.directory.tenant(tenant_id)
            assert tenant is not None
            view = await store.directory.account(tenant.pk, account_id)
            assert view is not None
            assert view.account.password == password

    on_store(instance.settings(), work)


def test_what_cannot_be_carried_over_is_named_with_its_reason(
    first: Instance, mail_proxy: CommandLine, tmp_path: Path
) -> None:
    old = GenroDatabase(tmp_path / "old.db", "0.5")
    old.tenant(id="acme", client_base_url="not a url")
    old.tenant(id="two words")
    old.tenant(id="good", client_auth="{broken")
    old.tenant(id="fine")
    old.account(id="orphan", tenant_id=None)
    old.account(id="lost", tenant_id="acme")
    old.account(id="sealed", tenant_id="fine", user="u", password=encrypted("p"))
    old.account(id="odd", tenant_id="fine", port=70000)
    old.account(id="ok", tenant_id="fine")
    old.message("m1", "lost")
    old.message("m2", "ok", payload={"to": ["not an address"]})
    old.message("m3", "ok", payload={"subject": 5})
    old.message("m4", "ok", payload={"headers": {"From": "x@example.com"}})
    old.message("m5", "ok")
    told = _import(mail_proxy, old.address, "--apply", code=1)
    reasons = {
        one["id"]: one["reason"] for name in ("tenants", "accounts", "messages") for one in told[name]["left"]
    }
    assert reasons.keys() == {
        *("acme", "two words", "good"),
        *("None/orphan", "acme/lost", "fine/sealed", "fine/odd"),
        *("/m1", "fine/m2", "fine/m3", "fine/m4"),
    }
    assert reasons["acme"].startswith("client_base_url: ")
    assert reasons["good"] == "client_auth: is no JSON"
    assert "--key-file" in reasons["fine/sealed"]
    assert reasons["fine/odd"].startswith("port: ")
    assert reasons["fine/m2"].startswith("to[0]: ")
    assert reasons["fine/m3"].startswith("subject: ")
    assert [one["id"] for one in mail_proxy.json("first", "fine", "messages", "list")] == ["m5"]
    shown = mail_proxy("import", "genro", old.address, "--into", "first")
    assert "Left behind: message fine/m4: " in shown.output
    assert "Nothing was changed." in shown.output


def test_what_is_carried_over_in_part_is_noted(
    first: Instance, mail_proxy: CommandLine, tmp_path: Path
) -> None:
    old = GenroDatabase(tmp_path / "old.db", "0.6")
    old.tenant(id="fine", api_key_hash="00" * 32, api_key_expires_at="2001-01-01 00:00:00")
    old.account(id="pec", tenant_id="fine", is_pec_account=1, imap_host="imap.example.com")
    old.account(id="odd", tenant_id="fine", limit_behavior="drop")
    told = _import(mail_proxy, old.address, "--apply")
    assert [one["id"] for one in told["tenants"]["notes"]] == ["fine"]
    assert "api-key" in told["tenants"]["notes"][0]["reason"]
    notes = {one["id"]: one["reason"] for one in told["accounts"]["notes"]}
    assert "IMAP" in notes["fine/pec"]
    assert "limit_behavior" in notes["fine/odd"]
    assert _import(mail_proxy, old.address)["accounts"]["notes"] == []


def test_a_wrong_old_key_is_told(
    first: Instance, mail_proxy: CommandLine, tmp_path: Path, key_file: Path
) -> None:
    filled(tmp_path / "old.db", "0.6")
    key_file.write_bytes(b"w" * 32)
    told = _import(mail_proxy, str(tmp_path / "old.db"), "--key-file", key_file, code=1)
    assert "cannot be opened" in told["accounts"]["left"][0]["reason"]
    key_file.write_text("short")
    result = mail_proxy("import", "genro", tmp_path / "old.db", "--into", "first", "--key-file", key_file)
    assert result.exit_code == 2


def test_the_old_database_is_only_read(
    first: Instance, mail_proxy: CommandLine, tmp_path: Path, key_file: Path
) -> None:
    path = tmp_path / "old.db"
    filled(path, "0.5")
    before = path.read_bytes()
    path.chmod(0o400)
    _import(mail_proxy, str(path), "--key-file", key_file, "--apply")
    assert path.read_bytes() == before
    assert sorted(one.name for one in tmp_path.glob("old.db*")) == ["old.db"]


def test_a_database_without_instance_takes_over_too(mail_proxy: CommandLine, tmp_path: Path) -> None:
    old = GenroDatabase(tmp_path / "old.db", "0.5")
    old.tenant(id="fine")
    target = tmp_path / "mail.db"
    mail_proxy.environ["GMP_DB_PATH"] = str(target)
    mail_proxy.ok("db", "migrate")
    words = ["import", "genro", old.address, "--database-url", target]
    assert mail_proxy.json(*words, "--apply")["tenants"]["added"] == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["nowhere.db", "--into", "first"], 6),
        (["old.db"], 2),
        (["old.db", "--into", "first", "--database-url", "x"], 2),
        (["old.db", "--into", "second"], 3),
        (["mysql://x/y", "--into", "first"], 2),
        (["other.db", "--into", "first"], 78),
    ],
)
def test_a_wrong_source_or_target_is_refused(
    words: list[str], code: int, first: Instance, mail_proxy: CommandLine, tmp_path: Path
) -> None:
    GenroDatabase(tmp_path / "old.db", "0.5")
    (tmp_path / "other.db").touch()
    source = words[0] if "://" in words[0] else str(tmp_path / words[0])
    result = mail_proxy("import", "genro", source, *words[1:])
    assert result.exit_code == code, result.output
