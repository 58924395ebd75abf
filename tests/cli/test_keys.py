"""keys list, keys rotate."""

import asyncio
import base64
import stat
from pathlib import Path

import pytest

from mailproxy import keyfile
from mailproxy.cli import rotation
from mailproxy.cli.home import Instance
from mailproxy.cli.rotation import Ring
from mailproxy.config import decode_keys
from mailproxy.vault import key_id
from sql.open import open_store
from tests.cli.conftest import HELLO, CommandLine, until
from tests.support.smtp import sink_process

LATER = b"l" * 32


def _file(instance: Instance) -> Path:
    path = keyfile.key_path(instance.settings())
    assert path is not None
    return path


def _keys(instance: Instance) -> tuple[bytes, ...]:
    return decode_keys(_file(instance).read_text().strip())


async def _password(instance: Instance) -> str | None:
    store = await open_store(instance.settings(), role="test")
    try:
        tenant = await store.directory.tenant("acme")
        assert tenant is not None
        view = await store.directory.account(tenant.pk, "main")
        assert view is not None
        return view.account.password
    finally:
        await store.aclose()


@pytest.fixture
def sealed(acme: CommandLine) -> CommandLine:
    acme.ok(
        "first", "acme", "accounts", "update", "main", "-u", "ann", "--password-stdin", input="hush-hush\n"
    )
    return acme


def test_a_rotation_replaces_the_key_and_loses_no_secret(first: Instance, sealed: CommandLine) -> None:
    (old,) = _keys(first)
    (listed,) = sealed.json("keys", "list", "-i", "first")
    assert (listed["key"], listed["role"]) == (key_id(old), "seals")
    done = sealed.json("keys", "rotate", "-i", "first")
    (new,) = _keys(first)
    assert new != old
    assert done == {"ok": True, "key": key_id(new), "resealed": listed["secrets"], "dropped": [key_id(old)]}
    assert stat.S_IMODE(_file(first).stat().st_mode) == 0o600
    assert asyncio.run(_password(first)) == "hush-hush"
    told = sealed.ok("keys", "rotate", "-i", "first")
    assert base64.b64encode(new).decode() not in told, "a key is never printed"


class Killed(BaseException):
    """Ends a rotation as a kill would: nothing catches it, and what is on disk stays."""


@pytest.mark.parametrize("step", ["added", "put first", "sealed", "dropped"])
def test_an_interrupted_rotation_loses_nothing_and_can_be_typed_again(
    step: str, first: Instance, sealed: CommandLine
) -> None:
    def at(done: str) -> None:
        if done == step:
            raise Killed

    (old,) = _keys(first)
    ring = Ring(first, first.settings(), (old,), _file(first))
    with pytest.raises(Killed):
        asyncio.run(rotation.rotate(ring, LATER, at))
    assert asyncio.run(_password(first)) == "hush-hush"
    done = sealed.json("keys", "rotate", "-i", "first")
    (new,) = _keys(first)
    assert done["key"] == key_id(new)
    assert new != old
    assert asyncio.run(_password(first)) == "hush-hush"
    assert [one["role"] for one in sealed.json("keys", "list", "-i", "first")] == ["seals"]


def test_a_rotation_that_sealed_only_a_part_is_finished(first: Instance, sealed: CommandLine) -> None:
    (old,) = _keys(first)
    keyfile.write_key_file(_file(first), (LATER, old))
    url = ["--base-url", "https://b.example", "--auth-token-file", "-"]
    sealed.ok("first", "tenants", "add", "beta", *url, input="t")
    new, former = (one["secrets"] for one in sealed.json("keys", "list", "-i", "first"))
    assert (new, former) >= (1, 2)
    assert sealed.json("keys", "rotate", "-i", "first")["resealed"] == former
    assert _keys(first) == (LATER,)
    assert asyncio.run(_password(first)) == "hush-hush"


def test_a_ring_of_the_environment_is_sealed_with_but_not_changed(
    mail_proxy: CommandLine, tmp_path: Path
) -> None:
    old, new = (base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))
    mail_proxy.environ |= {"GMP_DB_PATH": str(tmp_path / "mail.db"), "MAIL_PROXY_ENCRYPTION_KEY": old}
    mail_proxy.ok("db", "migrate")
    assert mail_proxy.json("keys", "list")[0]["role"] == "seals"
    alone = mail_proxy("keys", "rotate")
    assert alone.exit_code == 4
    assert "NEW,OLD" in alone.output
    mail_proxy.environ["MAIL_PROXY_ENCRYPTION_KEY"] = f"{new},{old}"
    done = mail_proxy.json("keys", "rotate")
    assert (done["resealed"], done["dropped"]) == (1, [])
    assert [one["secrets"] for one in mail_proxy.json("keys", "list")] == [1, 0]
    mail_proxy.environ["MAIL_PROXY_ENCRYPTION_KEY"] = new
    assert len(mail_proxy.json("keys", "list")) == 1


def test_servers_that_cannot_be_told_are_not_left_behind(first: Instance, sealed: CommandLine) -> None:
    async def register() -> None:
        store = await open_store(first.settings(), role="test")
        try:
            await store.fleet.register("elsewhere", "another-node", "api")
        finally:
            await store.aclose()

    asyncio.run(register())
    before = _keys(first)
    result = sealed("keys", "rotate", "-i", "first")
    assert result.exit_code == 5
    assert "another-node" in result.output
    assert _keys(first) == before


async def test_a_running_instance_goes_on_with_the_new_key(servers: CommandLine, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    async with sink_process(log, user="ann", password="hush-hush") as port:
        await asyncio.to_thread(_send_around_a_rotation, servers, port)
    assert log.read_text().count("bob@example.org") == 2


def _send_around_a_rotation(servers: CommandLine, port: int) -> None:
    assert servers.process("start", "first", "-h", "127.0.0.1", "-b").returncode == 0
    servers.ok("first", "tenants", "add", "acme")
    account = ["-h", "127.0.0.1", "-p", port, "-u", "ann", "--password-stdin"]
    servers.ok("first", "acme", "accounts", "add", "main", *account, input="hush-hush\n")
    pid = servers.json("status", "first")["pid"]
    for name in ("before", "after"):
        servers.ok("first", "acme", "send", "-", "--id", name, input=HELLO)
        until(lambda name=name: _is_sent(servers, name))  # type: ignore[misc]
        if name == "before":
            rotated = servers.process("keys", "rotate", "-i", "first")
            assert rotated.returncode == 0, rotated.stderr
    assert servers.json("status", "first")["pid"] == pid
    servers.ok("stop", "first")


def _is_sent(servers: CommandLine, name: str) -> bool:
    return bool(servers.json("first", "acme", "messages", "show", name)["status"] == "sent")
