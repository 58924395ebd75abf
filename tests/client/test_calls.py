"""Every call of both clients, against the real API."""

import asyncio
import inspect
import json
from collections.abc import Callable

import pytest

from mailproxy.client import (
    AsyncMailProxyClient,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    MailProxyClient,
    NotFound,
    NothingAdded,
    StillWaiting,
    Unauthorized,
)
from mailproxy.client.methods import Call
from mailproxy.model import EventType, Status
from tests.api.conftest import Api, message
from tests.api.test_dead_letters import bury
from tests.api.test_submission import finish
from tests.client.conftest import Twin

Connect = Callable[..., Twin]


def methods(kind: type[object]) -> dict[str, inspect.Signature]:
    return {name: call.signature for name, call in vars(kind).items() if isinstance(call, Call)}


def test_both_clients_have_the_same_calls() -> None:
    blocking, awaited = MailProxyClient("http://localhost"), AsyncMailProxyClient("http://localhost")
    assert methods(MailProxyClient) == methods(AsyncMailProxyClient)
    for group in ("messages", "accounts", "tenants", "dead_letters", "suppressions", "instance"):
        ours = methods(type(getattr(blocking, group)))
        assert ours
        assert ours == methods(type(getattr(awaited, group)))
    blocking.close()
    asyncio.run(awaited.aclose())


def test_calls_show_what_they_take_and_do() -> None:
    with MailProxyClient("http://localhost") as client:
        assert str(inspect.signature(client.messages.get)).startswith("(message_id: str, tenant_id: ")
        assert client.messages.get.__doc__ == "Raises NotFound."
        assert client.messages.list.__name__ == "list"


async def test_a_tenant_is_added_shown_changed_and_deleted(admin: Twin) -> None:
    stored = await admin.do(
        lambda c: c.tenants.add("acme", name="Acme", client_base_url="http://app.example")
    )
    assert stored.api_key.startswith("mp_")
    assert stored.api_key not in repr(stored)
    again = await admin.do(lambda c: c.tenants.add("acme", name="Acme Ltd"))
    assert again.api_key is None
    await admin.do(lambda c: c.tenants.update("acme", rate_limits={"hourly": 7}))
    shown = await admin.do(lambda c: c.tenants.get("acme"))
    assert (shown.id, shown.name, shown.rate_limits, shown.client_base_url) == (
        "acme",
        "Acme Ltd",
        {"hourly": 7},
        None,
    )
    assert [one.id for one in await admin.do(lambda c: c.tenants.list())] == ["acme"]
    (standing,) = await admin.do(lambda c: c.tenants.sync_status())
    assert (standing.id, standing.next_sync_due) == ("acme", False)
    await admin.do(lambda c: c.tenants.delete("acme"))
    with pytest.raises(NotFound) as missing:
        await admin.do(lambda c: c.tenants.get("acme"))
    assert (missing.value.status, missing.value.code) == (404, "tenant_not_found")
    assert missing.value.detail == "Tenant 'acme' not found"
    assert missing.value.request_id


async def test_keys_are_made_anew_and_revoked(api: Api, admin: Twin, connect: Connect) -> None:
    first = await api.tenant("acme")
    second = await admin.do(lambda c: c.tenants.new_key("acme", keep_previous=60))
    for key in (first, second):
        assert await connect(api.port, key).do(lambda c: c.status())
    await admin.do(lambda c: c.tenants.revoke_keys("acme"))
    with pytest.raises(Unauthorized):
        await connect(api.port, second).do(lambda c: c.status())


async def test_an_account_is_added_shown_changed_and_deleted(api: Api, admin: Twin) -> None:
    await api.tenant("acme", account=None)
    await admin.do(lambda c: c.accounts.add("main", "smtp.example.com", 587, user="u", password="p"))
    await admin.do(lambda c: c.accounts.update("main", limit_per_hour=5))
    shown = await admin.do(lambda c: c.accounts.get("main"))
    assert (shown.host, shown.user, shown.password_set, shown.limit_per_hour) == (
        "smtp.example.com",
        "u",
        True,
        5,
    )
    assert shown.limits["hour"]["left"] == 5
    assert shown.raw["state"] == shown.state == "ok"
    await admin.do(lambda c: c.accounts.reset("main"))
    assert [one.id for one in await admin.do(lambda c: c.accounts.list())] == ["main"]
    assert await admin.do(lambda c: c.accounts.list("nobody")) == []
    await admin.do(lambda c: c.accounts.delete("main"))
    with pytest.raises(BadRequest, match="account not found"):
        await admin.do(lambda c: c.accounts.delete("main"))


async def test_messages_are_added_listed_and_deleted(api: Api, connect: Connect) -> None:
    tenant = connect(api.port, await api.tenant("acme"))
    added = await tenant.do(
        lambda c: c.messages.add([message("m1"), message("a/b"), message("m3", to="")], default_priority=1)
    )
    assert added.queued == 2
    assert [one.id for one in added.accepted] == ["m1", "a/b"]
    (rejected,) = added.rejected
    assert (rejected.id, rejected.code) == ("m3", "missing_to")
    shown = await tenant.do(lambda c: c.messages.get("a/b"))
    assert (shown.id, shown.status, shown.priority, shown.message["subject"]) == ("a/b", "pending", 1, "Hi")
    assert not shown.has_ended
    newest = await tenant.do(lambda c: c.messages.list(newest_first=True, limit=2, include_payload=False))
    assert [one.id for one in newest] == ["m3", "a/b"]
    first = await tenant.do(lambda c: c.messages.page(limit=2))
    rest = await tenant.do(lambda c: c.messages.page(limit=2, cursor=first.cursor))
    assert [one.id for one in (*first.items, *rest.items)] == ["m1", "a/b", "m3"]
    assert rest.cursor is None
    assert {one.id for one in await tenant.do(lambda c: c.messages.pending())} == {"m1", "a/b"}
    assert [one.id for one in await tenant.do(lambda c: c.messages.errors())] == ["m3"]
    assert await tenant.do(lambda c: c.messages.sent()) == []
    (failed,) = await tenant.do(lambda c: c.messages.events("m3"))
    assert failed.event_type == "error"
    removed = await tenant.do(lambda c: c.messages.delete(["m1", "gone"]))
    assert (removed.removed, removed.not_found) == (1, ["gone"])
    assert await tenant.do(lambda c: c.messages.cleanup(older_than_seconds=0)) in (0, 1)


async def test_one_message_may_be_added_without_a_list(api: Api, admin: Twin) -> None:
    await api.tenant("acme")
    added = await admin.do(lambda c: c.messages.add(message("m1")))
    assert (added.queued, added.warnings) == (1, ())


async def test_an_id_full_of_dots_and_slashes_leads_nowhere_else(api: Api, admin: Twin) -> None:
    await api.tenant("acme")
    for identity in ("..", ".", "../../tenants", "a?b#c", "%2e"):
        await admin.do(lambda c, one=identity: c.messages.add(message(one)))
        found = await admin.do(lambda c, one=identity: c.messages.get(one))
        assert found.id == identity


async def test_a_call_of_which_nothing_was_queued_says_why(api: Api, admin: Twin) -> None:
    await api.tenant("acme")
    with pytest.raises(NothingAdded, match="m1: missing subject") as told:
        await admin.do(lambda c: c.messages.add(message("m1", subject="")))
    assert told.value.code == "all_rejected"
    assert told.value.detail["rejected"][0]["code"] == "missing_subject"


async def test_a_waiting_message_is_cancelled_and_a_sent_one_not(api: Api, admin: Twin) -> None:
    await api.tenant("acme")
    await admin.do(lambda c: c.messages.add([message("m1"), message("m2")]))
    await admin.do(lambda c: c.messages.cancel("m1"))
    await finish(api.store, "m2", Status.SENT, EventType.SENT)
    with pytest.raises(Conflict) as told:
        await admin.do(lambda c: c.messages.cancel("m2"))
    assert (told.value.status, told.value.code) == (409, "not_cancellable")
    ended = await admin.do(lambda c: c.wait_until_sent(["m1", "m2"], 10))
    assert {name: (one.status, one.was_sent) for name, one in ended.items()} == {
        "m1": ("cancelled", False),
        "m2": ("sent", True),
    }


async def test_a_message_in_doubt_is_decided(api: Api, admin: Twin) -> None:
    await api.tenant("acme")
    await admin.do(lambda c: c.messages.add(message("m1")))
    await finish(api.store, "m1", Status.UNKNOWN, EventType.UNKNOWN)
    await admin.do(lambda c: c.messages.resolve("m1", "sent"))
    assert (await admin.do(lambda c: c.messages.get("m1"))).was_sent


async def test_whoever_waits_is_told_as_soon_as_the_last_one_ended(api: Api, admin: Twin) -> None:
    await api.tenant("acme")
    await admin.do(lambda c: c.messages.add(message("m1")))
    waiting = asyncio.create_task(admin.do(lambda c: c.wait_until_sent("m1", 60)))
    await finish(api.store, "m1", Status.SENT, EventType.SENT)
    assert (await waiting)["m1"].was_sent


async def test_waiting_has_an_end(api: Api, admin: Twin) -> None:
    await api.tenant("acme")
    await admin.do(lambda c: c.messages.add([message("m1"), message("m2")]))
    await finish(api.store, "m2", Status.SENT, EventType.SENT)
    with pytest.raises(StillWaiting) as told:
        await admin.do(lambda c: c.wait_until_sent(["m1", "m2"], 0.1))
    assert told.value.waiting == ("m1",)
    assert isinstance(told.value, TimeoutError)
    with pytest.raises(NotFound):
        await admin.do(lambda c: c.wait_until_sent("gone", 60))


async def test_batches_and_everything_are_suspended_and_activated(
    api: Api, admin: Twin, connect: Connect
) -> None:
    await api.tenant("acme")
    held = await admin.do(lambda c: c.suspend(batch_code="b1"))
    assert (held.tenant_id, held.suspended_batches) == ("acme", ["b1"])
    assert (await admin.do(lambda c: c.activate())).suspended_batches == []
    everybody = connect(api.port)
    assert (await everybody.do(lambda c: c.suspend())).active is False
    assert (await everybody.do(lambda c: c.status())).active is False
    assert (await everybody.do(lambda c: c.activate())).active is True
    await admin.do(lambda c: c.run_now())


async def test_the_service_is_counted_and_any_route_can_be_called(api: Api, admin: Twin) -> None:
    await api.tenant("acme")
    assert (await admin.do(lambda c: c.health())).status == "ok"
    stats = await admin.do(lambda c: c.stats())
    assert (stats.tenants, stats.accounts, stats.messages["total"]) == (1, 1, 0)
    status = await admin.do(lambda c: c.call("GET", "/status"))
    assert status["node"] == "here"


async def test_dead_letters_are_listed_replayed_and_discarded(api: Api, connect: Connect) -> None:
    await api.tenant("acme", client_base_url="http://127.0.0.1:1")
    a, b, c = await bury(api, "acme", "a", "b", "c")
    admin = connect(api.port, tenant_id="acme")
    found = await admin.do(lambda client: client.dead_letters.list(since=0))
    assert [(one.event_id, one.id, one.cause) for one in found] == [
        (a, "a", "HTTP status 503"),
        (b, "b", "HTTP status 503"),
        (c, "c", "HTTP status 503"),
    ]
    page = await admin.do(lambda client: client.dead_letters.page(limit=2))
    rest = await admin.do(lambda client: client.dead_letters.page(cursor=page.cursor))
    assert ([one.event_id for one in (*page.items, *rest.items)], rest.cursor) == ([a, b, c], None)
    assert (await admin.do(lambda client: client.stats())).reports_dead == 3
    replayed = await admin.do(lambda client: client.dead_letters.replay([a, 10**9]))
    assert (replayed.replayed, replayed.not_found) == (1, [10**9])
    with pytest.raises(BadRequest):
        await admin.do(lambda client: client.dead_letters.discard())
    assert (await admin.do(lambda client: client.dead_letters.discard([b]))).discarded == 1
    assert (await admin.do(lambda client: client.dead_letters.replay())).replayed == 1


async def test_refusals_are_told_apart(api: Api, connect: Connect) -> None:
    key = await api.tenant("acme")
    with pytest.raises(Unauthorized, match="Invalid or missing API token"):
        await connect(api.port, None).do(lambda c: c.status())
    with pytest.raises(Forbidden) as told:
        await connect(api.port, key).do(lambda c: c.tenants.list())
    assert told.value.code == "admin_required"
    with pytest.raises(Invalid, match=r"query\.tenant_id: Field required") as told_where:
        await connect(api.port).do(lambda c: c.messages.list())
    assert told_where.value.detail[0]["loc"] == ["query", "tenant_id"]


async def test_no_token_shows_in_what_a_client_says_of_itself(connect: Connect) -> None:
    client = connect(1, "a-secret-token", tenant_id="acme").client
    assert repr(client) == f"<{type(client).__name__} http://127.0.0.1:1, tenant_id='acme'>"
    assert client.name == "127.0.0.1:1"


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "", "http://"])
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="http"):
        MailProxyClient(url)


async def test_a_message_is_explained(api: Api, connect: Connect) -> None:
    tenant = connect(api.port, await api.tenant("acme"))
    await tenant.do(lambda c: c.messages.add(message("a/b", deferred_ts=4070908800)))
    told = await tenant.do(lambda c: c.messages.explain("a/b"))
    assert (told.id, told.status) == ("a/b", "deferred")
    found = {one.code: one for one in told.findings}
    assert (found["not_due"].blocks, found["not_due"].until) == (True, 4070908800)
    assert found["no_workers"].action == "start_workers"
    assert not found["expiry"].blocks
    with pytest.raises(NotFound):
        await tenant.do(lambda c: c.messages.explain("nobodys"))


async def test_addresses_are_suppressed_and_no_longer(api: Api, connect: Connect) -> None:
    client = connect(api.port, await api.tenant())
    added = await client.do(lambda c: c.suppressions.add("Gone@example.org", expires_at=4e9))
    assert (added.added, added.updated, added.refused) == (1, 0, ())
    entries = [{"address": "b@example.org", "reason": "import"}, {"address": "none", "expires_at": None}]
    many = await client.do(lambda c: c.suppressions.add_many(entries))
    assert (many.added, [one.code for one in many.refused]) == (1, ["invalid_address"])
    found = await client.do(lambda c: c.suppressions.list())
    assert [(one.address, one.reason, one.expires_at) for one in found] == [
        ("b@example.org", "import", None),
        ("gone@example.org", "manual", 4e9),
    ]
    page = await client.do(lambda c: c.suppressions.page(limit=1))
    rest = await client.do(lambda c: c.suppressions.page(cursor=page.cursor, q="gone", reason="manual"))
    assert [*page.items, *rest.items] == found
    sent = await client.do(lambda c: c.messages.add(message(to=["b@example.org", "c@example.org"])))
    assert sent.accepted[0].suppressed == ["b@example.org"]
    await client.do(lambda c: c.suppressions.remove("b@example.org"))
    with pytest.raises(NotFound):
        await client.do(lambda c: c.suppressions.remove("b@example.org"))
    with pytest.raises(BadRequest):
        await client.do(lambda c: c.suppressions.add("none"))


async def test_the_instances_settings_are_read_and_changed(admin: Twin) -> None:
    await admin.do(lambda c: c.instance.rename("north"))
    shown = await admin.do(lambda c: c.instance.get())
    assert (shown.name, shown.raw["bounce_enabled"]) == ("north", False)
    await admin.do(lambda c: c.instance.update_bounce(enabled=True))
    with pytest.raises(BadRequest, match="imap_host"):
        await admin.do(lambda c: c.instance.reload_bounce())
    await admin.do(
        lambda c: c.instance.update_bounce(
            imap_host="imap.example.com", imap_password="secret", enabled=False
        )
    )
    bounce = await admin.do(lambda c: c.instance.bounce())
    assert (bounce.enabled, bounce.imap_host, bounce.imap_password_set) == (False, "imap.example.com", True)
    assert "secret" not in repr(bounce.raw)
    await admin.do(lambda c: c.instance.reload_bounce())


async def test_the_command_log_is_read_in_pages_and_whole(api: Api, admin: Twin, connect: Connect) -> None:
    key = await api.tenant("acme")
    for number in range(3):
        await admin.do(lambda c, name=f"n{number}": c.instance.rename(name))
    found = await admin.do(lambda c: c.instance.commands(endpoint="PUT /instance"))
    assert [one.payload["name"] for one in found] == ["n2", "n1", "n0"]
    assert {(one.actor, one.response_status) for one in found} == {("admin", 200)}
    newest = await admin.do(lambda c: c.instance.commands(limit=1, endpoint="PUT /instance"))
    page = await admin.do(lambda c: c.instance.commands_page(limit=1, endpoint="PUT /instance"))
    rest = await admin.do(lambda c: c.instance.commands_page(cursor=page.cursor, endpoint="PUT /instance"))
    assert (newest, [*page.items, *rest.items]) == (found[:1], found)
    assert await admin.do(lambda c: c.instance.commands(until=1.0)) == []
    assert await admin.do(lambda c: c.instance.quarantine(tenant_id="acme")) == []
    exported = await admin.do(lambda c: c.instance.export_commands(endpoint="PUT /instance"))
    assert [json.loads(line) for line in exported.splitlines()] == [one.raw for one in reversed(found)]
    with pytest.raises(Forbidden):
        await connect(api.port, key).do(lambda c: c.instance.commands())
