"""messages explain: why a message has not gone."""

from typing import Any

from mailproxy.cli.home import Instance
from mailproxy.cli.place import on_store
from mailproxy.model import AccountCondition
from mailproxy.store import Store
from tests.cli.conftest import HELLO, CommandLine

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
