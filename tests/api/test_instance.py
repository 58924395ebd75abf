"""The instance's own settings over HTTP, and those of the bounce mailbox."""

import pytest

from mailproxy import instance
from mailproxy.config import Settings
from mailproxy.store import Store
from tests.api.conftest import Api, api_on, heard
from tests.sql.conftest import run_sql

SECRET = "canary-imap-pw"


async def test_the_instance_comes_with_defaults_and_without_secrets(api: Api) -> None:
    shown = (await api.admin.get("/instance")).json()
    assert {"created_at", "updated_at"} <= shown.keys()
    assert {name: value for name, value in shown.items() if not name.endswith("_at")} == {
        "name": "mail-proxy",
        "bounce_enabled": False,
        "bounce_imap_port": 993,
        "bounce_imap_password_set": False,
        "bounce_imap_folder": "INBOX",
        "bounce_imap_ssl": True,
        "bounce_poll_interval": 60,
        "bounce_processed": "delete",
        "bounce_strict": False,
    }


async def test_only_what_is_given_changes(api: Api) -> None:
    first = {"name": "mail-1", "bounce_enabled": True, "bounce_imap_host": "imap.example.com"}
    assert (await api.admin.put("/instance", json=first)).json() == {"ok": True}
    second = {"imap_user": "b@example.com", "imap_port": 143, "imap_ssl": False, "processed": "move:Done"}
    assert (await api.admin.put("/instance/bounce", json=second)).json() == {"ok": True}
    assert (await api.admin.put("/instance", json={"name": None})).json() == {"ok": True}
    shown = (await api.admin.get("/instance")).json()
    assert (shown["name"], shown["bounce_imap_host"]) == ("mail-1", "imap.example.com")
    bounce = (await api.admin.get("/instance/bounce")).json()
    assert bounce.pop("ok") is True
    assert bounce.pop("health") == {"state": "waiting", "failures": 0, "quarantined": 0}
    assert bounce == {
        "enabled": True,
        "imap_host": "imap.example.com",
        "imap_port": 143,
        "imap_user": "b@example.com",
        "imap_password_set": False,
        "imap_folder": "INBOX",
        "imap_ssl": False,
        "poll_interval": 60,
        "processed": "move:Done",
        "strict": False,
    }
    assert shown == shown | {f"bounce_{name}": value for name, value in bounce.items()}


async def test_the_password_is_sealed_and_kept_until_an_empty_one_ends_it(
    api: Api, settings: Settings
) -> None:
    for path, name in (("/instance", "bounce_imap_password"), ("/instance/bounce", "imap_password")):
        assert (await api.admin.put(path, json={name: SECRET})).json() == {"ok": True}
        await api.admin.put(path, json={"name": "x"})
        for shown in (await api.admin.get("/instance"), await api.admin.get("/instance/bounce")):
            assert SECRET not in shown.text
        found = instance.bounce(await api.store.administration.instance(), settings)
        assert found.imap_password == SECRET
        assert SECRET not in repr(found)
        [(values, sealed)] = run_sql(settings.database, "SELECT settings, bounce_secret FROM instance")
        assert SECRET not in f"{values} {bytes(sealed)!r}"
        await api.admin.put(path, json={name: ""})
        assert (await api.admin.get("/instance/bounce")).json()["imap_password_set"] is False


async def test_an_admin_token_is_not_stored_and_a_warning_says_so(api: Api, settings: Settings) -> None:
    answer = await api.admin.put("/instance", json={"api_token": "canary-token", "nmae": "x"})
    assert answer.status_code == 200
    assert any("GMP_API_TOKEN" in warning for warning in answer.json()["warnings"])
    assert any("did you mean 'name'?" in warning for warning in answer.json()["warnings"])
    assert (await (await api.client("canary-token")).get("/instance")).status_code == 401
    assert "canary" not in repr(run_sql(settings.database, "SELECT settings FROM instance"))


async def test_a_reload_wakes_the_reader_unless_it_could_not_read(api: Api) -> None:
    for path in ("/instance/bounce/reload", "/instance/reload-bounce"):
        assert (await api.admin.post(path)).json() == {"ok": True, "error": None}
    await api.admin.put("/instance/bounce", json={"enabled": True})
    refused = await api.admin.post("/instance/reload-bounce")
    assert (refused.status_code, refused.json()["code"]) == (400, "bounce_not_configured")
    assert refused.json()["detail"] == "Bounce enabled but imap_host not configured"
    await api.admin.put("/instance/bounce", json={"imap_host": "127.0.0.1"})
    await heard(api.store, {"bounces"}, lambda: api.admin.post("/instance/bounce/reload"))


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_what_is_configured_holds_until_it_is_set(settings: Settings, store: Store) -> None:
    seed = {"bounce_enabled": True, "bounce_imap_host": "seed.example.com", "bounce_ssl": False}
    async with api_on(settings.model_copy(update=seed), store) as api:
        seeded = (await api.admin.get("/instance/bounce")).json()
        assert (seeded["enabled"], seeded["imap_host"]) == (True, "seed.example.com")
        assert (seeded["imap_ssl"], seeded["imap_port"]) == (False, 143)
        await api.admin.put("/instance/bounce", json={"enabled": False, "imap_ssl": True})
        changed = (await api.admin.get("/instance/bounce")).json()
        assert (changed["enabled"], changed["imap_ssl"], changed["imap_port"]) == (False, True, 993)
        assert changed["imap_host"] == "seed.example.com"


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_impossible_settings_are_refused_field_by_field(api: Api) -> None:
    for name, wrong in (
        ("imap_host", "imap://x"),
        ("imap_port", 0),
        ("imap_port", 65536),
        ("imap_folder", ""),
        ("imap_folder", "a\r\nb"),
        ("poll_interval", 0),
        ("return_path", "no address"),
        ("return_path", "A <a@example.com>"),
        ("processed", "burn"),
        ("imap_password", SECRET * 500),
    ):
        for path, field in (("/instance/bounce", name), ("/instance", f"bounce_{name}")):
            answer = await api.admin.put(path, json={field: wrong})
            assert answer.status_code == 422, (field, wrong)
            assert answer.json()["detail"][0]["loc"][:2] == ["body", field]
            assert SECRET not in answer.text
