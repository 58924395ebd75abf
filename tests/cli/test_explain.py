"""messages explain: why a message has not gone."""

import asyncio
from pathlib import Path
from typing import Any

from mailproxy.cli.home import Instance
from mailproxy.cli.server import on_store
from mailproxy.model import AccountCondition
from mailproxy.store import Store
from tests.cli.conftest import HELLO, CommandLine, until
from tests.support.smtp import sink_process

EXPLAIN = ("first", "acme", "messages", "explain", "m1")


def _codes(found: dict[str, Any]) -> set[str]:
    return {one["code"] for one in found["findings"]}


def test_a_message_of_a_stopped_instance_waits_for_workers(acme: CommandLine) -> None:
    acme.ok("first", "acme", "send", "-", "--id", "m1", input=HELLO)
    told = acme.ok(*EXPLAIN)
    assert told.startswith("m1 is pending.\n")
    assert "No workers run" in told
    assert "-> mail-proxy start first -b" in told


def test_a_switched_off_account_is_named_and_can_be_switched_on(first: Instance, acme: CommandLine) -> None:
    acme.ok("first", "acme", "send", "-", "--id", "m1", input=HELLO)

    async def open_breaker(store: Store) -> None:
        tenant = await store.directory.tenant("acme")
        assert tenant is not None
        accounts = await store.directory.account_ids(tenant.pk)
        await store.queue.back_off(
            accounts["main"],
            condition=AccountCondition.BREAKER_OPEN,
            reason="tls",
            cause="certificate has expired",
            delay=1e6,
        )

    on_store(first.settings(), open_breaker)
    found = acme.json(*EXPLAIN)
    assert found["id"] == "m1"
    (breaker,) = [one for one in found["findings"] if one["code"] == "breaker_open"]
    assert "certificate has expired" in breaker["text"]
    assert breaker["blocks"] is True
    assert breaker["remedy"].endswith("acme accounts reset main")
    acme.ok(*breaker["remedy"].split()[1:])
    assert "breaker_open" not in _codes(acme.json(*EXPLAIN))
    assert acme.json("first", "acme", "accounts", "show", "main")["state"] == "ok"


def test_a_message_that_is_not_there_ends_with_3(acme: CommandLine) -> None:
    assert acme(*EXPLAIN).exit_code == 3


async def test_its_remedies_let_a_message_go(servers: CommandLine, tmp_path: Path) -> None:
    async with sink_process(tmp_path / "log.jsonl", user="ann", password="right") as port:
        await asyncio.to_thread(_mend_a_login, servers, port)


def _mend_a_login(servers: CommandLine, port: int) -> None:
    assert servers.process("start", "first", "-h", "127.0.0.1", "-b").returncode == 0
    servers.ok("first", "tenants", "add", "acme")
    account = ["-h", "127.0.0.1", "-p", port, "-u", "ann", "--password-stdin"]
    servers.ok("first", "acme", "accounts", "add", "main", *account, input="wrong\n")
    servers.ok("first", "acme", "send", "-", "--id", "m1", input=HELLO)
    until(lambda: "breaker_open" in _codes(servers.json(*EXPLAIN)))
    (breaker,) = [one for one in servers.json(*EXPLAIN)["findings"] if one["code"] == "breaker_open"]
    assert "535" in breaker["text"]
    remedy = breaker["remedy"].partition("  ")[0].split()[1:]
    servers.ok(*remedy, input="right\n")
    until(lambda: _codes(servers.json(*EXPLAIN)) >= {"sent", "no_report"})
    servers.ok("stop", "first")
