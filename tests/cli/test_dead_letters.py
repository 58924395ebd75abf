"""Dead letters from the command line, and tenants that were switched off."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from mailproxy.cli.home import Instance
from mailproxy.cli.server import on_store
from mailproxy.model import Priority
from mailproxy.records import NewMessage
from mailproxy.reports import CallSettled
from mailproxy.store import Store
from tests.cli.conftest import CommandLine

HERE = ("first", "acme", "dead-letters")


def work_on(instance: Instance, work: Callable[[Store], Awaitable[None]]) -> None:
    async def run(store: Store) -> None:
        await work(store)

    on_store(instance.settings(), run)


async def fail(store: Store, settled: CallSettled) -> None:
    epoch = await store.fleet.register(str(uuid4()), "n", "reporter")
    await store.reports.poke(None)
    for call in await store.reports.claim_tenants(epoch, limit=9, ttl=60, interval=300, fallback=False):
        await store.reports.settle_call(call.tenant_pk, epoch, settled)


@pytest.fixture
def letters(first: Instance, acme: CommandLine) -> CommandLine:
    """The command line of an instance with dead letters of the messages a, b and c."""
    acme.ok("first", "tenants", "update", "acme", "--base-url", "http://127.0.0.1:1")

    async def bury(store: Store) -> None:
        tenant = await store.directory.tenant("acme")
        assert tenant is not None
        rejected = [NewMessage(one, None, Priority.LOW, "{}", rejected="no") for one in "abc"]
        await store.queue.enqueue({tenant.pk: rejected})
        await fail(store, CallSettled(fails=1, called=False, failure="HTTP status 503"))
        assert await store.dead_letters.set_aside(0.0, limit=10) == {"acme": 3}

    work_on(first, bury)
    return acme


def test_letters_are_listed_and_counted(letters: CommandLine) -> None:
    found = letters.json(*HERE, "list")
    assert [one["id"] for one in found] == ["a", "b", "c"]
    table = letters.ok(*HERE, "list").splitlines()
    assert table[0].split() == ["Event", "Message", "What", "Happened", "Because"]
    assert "HTTP status 503" in table[1]
    limited = letters(*HERE, "list", "--limit", "2")
    assert len(limited.stdout.splitlines()) == 3
    assert "more than 2" in limited.stderr
    assert letters.json("first", "stats")["reports_dead"] == 3
    assert letters.json(*HERE, "list", "--until", "2020-01-01T00:00:00Z") == []


def test_letters_are_replayed_one_a_range_or_all(letters: CommandLine) -> None:
    a, b, _ = [one["event_id"] for one in letters.json(*HERE, "list")]
    assert letters.ok(*HERE, "replay", a) == "1 replayed.\n"
    again = letters(*HERE, "replay", a, b)
    assert again.exit_code == 3
    assert f"event {a} is no dead letter" in again.stderr
    assert letters.json(*HERE, "replay", "--until", "2020-01-01T00:00:00Z") == {
        "replayed": 0,
        "not_found": [],
    }
    assert letters.json(*HERE, "replay", "--since", "0")["replayed"] == 1
    assert letters.ok(*HERE, "replay", "--all") == "0 replayed.\n"
    assert letters.ok(*HERE, "list") == "No dead letters.\n"
    assert letters.json("first", "stats")["reports_pending"] == 3


def test_letters_are_discarded_only_when_meant(letters: CommandLine) -> None:
    assert letters(*HERE, "discard", "--all").exit_code == 2
    assert letters(*HERE, "discard", "-f").exit_code == 2
    assert letters(*HERE, "replay").exit_code == 2
    assert letters(*HERE, "replay", "1", "--all").exit_code == 2
    assert letters(*HERE, "replay", "x").exit_code == 2
    assert letters.json(*HERE, "discard", "--all", "-f") == {"discarded": 3, "not_found": []}
    assert letters.json(*HERE, "list") == []


def test_a_switched_off_tenant_is_shown_and_switched_on(first: Instance, acme: CommandLine) -> None:
    acme.ok("first", "tenants", "update", "acme", "--base-url", "http://127.0.0.1:1")
    off = CallSettled(fails=10, called=False, failure="HTTP status 410", switch_off="it is gone")
    for options in (["--switch-on"], ["--base-url", "http://127.0.0.1:2"]):
        work_on(first, lambda store: fail(store, off))
        assert "it is gone" in acme.ok("first", "tenants", "show", "acme")
        acme.ok("first", "tenants", "update", "acme", "--name", "Acme")
        assert acme.json("first", "tenants", "show", "acme")["switched_off"] == "it is gone"
        acme.ok("first", "tenants", "update", "acme", *options)
        assert "switched_off" not in acme.json("first", "tenants", "show", "acme")
