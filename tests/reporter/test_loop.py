"""The reporter at work: both databases, real HTTP; what counts is what the endpoints wrote down."""

import asyncio
import time
from dataclasses import replace
from itertools import pairwise

from pydantic import SecretStr

from mailproxy.config import Settings
from mailproxy.store import Store
from sql.open import open_store
from tests.reporter.conftest import TERMS, Customer, SignUp, reporting, until
from tests.support.tenant import Manners
from workers.frame import Life
from workers.reporter.loop import entry


async def test_events_arrive_once_each_and_in_order(store: Store, sign_up: SignUp):
    acme = await sign_up("acme")
    await acme.happens("a", "b", "c")
    async with reporting(store):
        await until(acme.is_told_everything)
        await acme.happens("d")
        await until(acme.is_told_everything)
    assert acme.told() == ["a", "b", "c", "d"]
    assert acme.event_ids() == sorted(set(acme.event_ids()))
    assert acme.endpoint.items()[0]["error"] == "no a"


async def test_an_event_on_an_idle_instance_is_told_at_once(store: Store, sign_up: SignUp):
    acme = await sign_up("acme")
    async with reporting(store, replace(TERMS, slowest=60.0)):
        await until(lambda: len(acme.endpoint.calls()) == 1)
        started = time.monotonic()
        await acme.happens("a")
        await store.wakeups.announce("reports")
        await until(lambda: acme.told() == ["a"])
    assert time.monotonic() - started < 2.0


async def test_a_backlog_goes_out_in_full_calls_without_a_pause(store: Store, sign_up: SignUp):
    acme = await sign_up("acme")
    ids = [f"m{n}" for n in range(115)]
    await acme.happens(*ids)
    async with reporting(store, replace(TERMS, pace=replace(TERMS.pace, most_items=50))):
        await until(acme.is_told_everything)
    assert sorted(acme.told()) == sorted(ids)
    assert acme.event_ids() == sorted(acme.event_ids())
    assert [len(call.items) for call in acme.endpoint.calls()] == [50, 50, 15]


async def test_hanging_endpoints_delay_only_their_own_reports(store: Store, sign_up: SignUp):
    hanging = [await sign_up(f"hangs{n}", Manners(hang=True)) for n in range(8)]
    healthy = await sign_up("healthy")
    for customer in (*hanging, healthy):
        await customer.happens("a")
    async with reporting(store, replace(TERMS, places=2)) as running:
        await until(lambda: all(len(c.endpoint.calls()) == 1 for c in hanging))
        await until(healthy.is_told_everything)
        started = time.monotonic()
        await healthy.happens("b")
        await until(healthy.is_told_everything)
        assert time.monotonic() - started < 1.0
        assert not running.task.done()
    assert healthy.told() == ["a", "b"]
    for customer in hanging:
        assert await customer.waiting() == ["a"]


HOSTILE = {
    "html": (Manners(body="<html>"), True),
    "empty": (Manners(body=""), True),
    "nocontent": (Manners(status=204, body=""), True),
    "list": (Manners(body="[]"), True),
    "okyes": (Manners(says={"ok": "yes"}), True),
    "errortext": (Manners(says={"error": "a"}), True),
    "strangers": (Manners(says={"error": ["zzz"], "not_found": ["yyy"]}), True),
    "manyqueued": (Manners(says={"queued": "many"}), True),
    "lessqueued": (Manners(says={"queued": -1}), True),
    "muted": (Manners(body='{"next_sync_after": 1e308}'), True),
    "nan": (Manners(body='{"next_sync_after": NaN}'), True),
    "huge": (Manners(body='{"x":"' + "x" * (5 << 20) + '"}'), True),
    "deep": (Manners(body="[" * 10_000 + "]" * 10_000), True),
    "charset": (Manners(body='{"ok":"è"}'.encode("latin-1")), True),
    "duplicates": (Manners(body='{"error":["a"],"error":[]}'), True),
    "missing": (Manners(says={"not_found": ["a"]}), True),
    "notok": (Manners(says={"ok": False}), False),
    "error": (Manners(says={"ok": True, "error": ["a"]}), False),
    "moved": (Manners(status=301, headers={"Location": "/"}), False),
    "moved308": (Manners(status=308, headers={"Location": "/"}), False),
    "denied": (Manners(status=401), False),
    "forbidden": (Manners(status=403), False),
    "lost": (Manners(status=404), False),
    "gone": (Manners(status=410), False),
    "toolarge": (Manners(status=413), False),
    "busy": (Manners(status=429, headers={"Retry-After": "9" * 400}), False),
    "broken": (Manners(status=500), False),
    "down": (Manners(status=503, headers={"Retry-After": "soon"}), False),
    "reset": (Manners(reset=True), False),
    "cut": (Manners(cut=True), False),
}


async def test_each_hostile_answer_means_what_it_says_and_disturbs_nobody(store: Store, sign_up: SignUp):
    customers = {name: await sign_up(name, manners) for name, (manners, _) in HOSTILE.items()}
    tls = await sign_up("tls", client_base_url="https://127.0.0.1:1")
    healthy = await sign_up("healthy")
    for customer in (*customers.values(), tls, healthy):
        await customer.happens("a", "a2")
    async with reporting(store) as running:
        await until(
            lambda: all(
                len(c.endpoint.calls()) >= 2 - HOSTILE[n][1] for n, c in customers.items() if n != "busy"
            )
        )
        await until(healthy.is_told_everything)
        for name, (_, acknowledges) in HOSTILE.items():
            if acknowledges:
                await until(customers[name].is_told_everything)
        assert not running.task.done()
    await store.reports.poke(None)
    for name, (_, acknowledges) in HOSTILE.items():
        expected = [] if acknowledges else ["a"] if name == "error" else ["a", "a2"]
        assert await customers[name].waiting() == expected, name
        if acknowledges:
            assert customers[name].told() == ["a", "a2"], name
    assert await tls.waiting() == ["a", "a2"]


async def test_a_strict_tenant_acknowledges_with_json_only(store: Store, sign_up: SignUp):
    acme = await sign_up("acme", Manners(body="<html>"), Manners(), report_strict=True)
    await acme.happens("a")
    async with reporting(store):
        await until(acme.is_told_everything)
    assert acme.told() == ["a", "a"]


async def test_a_refused_event_comes_again_with_the_same_id_and_holds_up_no_other(
    store: Store, sign_up: SignUp
):
    acme = await sign_up("acme", Manners(says={"error": ["b"]}), Manners(says={"error": ["b"]}), Manners())
    await acme.happens("a", "b", "c")
    async with reporting(store):
        await until(acme.is_told_everything)
    assert acme.told() == ["a", "b", "c", "b", "b"]
    assert len(set(acme.event_ids())) == 3


async def test_calls_that_are_too_large_are_halved(store: Store, sign_up: SignUp):
    acme = await sign_up("acme", Manners(status=413), Manners(status=413), Manners())
    await acme.happens(*"abcdefgh")
    async with reporting(store):
        await until(acme.is_told_everything)
    assert [len(call.items) for call in acme.endpoint.calls()] == [8, 4, 2, 4, 2]
    assert acme.told()[12:] == list("abcdefgh")


async def test_an_endpoint_that_is_gone_for_good_is_switched_off(store: Store, sign_up: SignUp):
    acme = await sign_up("acme", Manners(status=410))
    await acme.happens("a")
    async with reporting(store):
        await until(lambda: len(acme.endpoint.calls()) == 10)
        other = await sign_up("other")
        await other.happens(*"ab")
        await until(other.is_told_everything)
        assert await store.reports.next_call_in(600.0, fallback=False) != 0
    assert len(acme.endpoint.calls()) == 10
    assert await acme.waiting() == ["a"]


async def test_every_active_tenant_is_called_at_the_interval_without_events(store: Store, sign_up: SignUp):
    idle = [await sign_up("idle1"), await sign_up("idle2")]
    inactive = await sign_up("inactive", active=False)
    busy = await sign_up("busy")
    async with reporting(store, replace(TERMS, interval=0.5)):
        while any(len(c.endpoint.calls()) < 3 for c in idle):
            await busy.happens("a")
            await until(busy.is_told_everything)
    for customer in idle:
        calls = customer.endpoint.calls()
        assert all(call.items == () for call in calls)
        assert all(later.t - call.t >= 0.45 for call, later in pairwise(calls))
    assert inactive.endpoint.calls() == []


async def test_a_tenant_with_more_for_us_is_called_again_at_the_floor_and_nobody_else_is(
    store: Store, sign_up: SignUp
):
    eager = await sign_up("eager", Manners(says={"ok": True, "queued": 1}))
    calm = await sign_up("calm")
    async with reporting(store):
        await until(lambda: len(eager.endpoint.calls()) >= 4)
    calls = eager.endpoint.calls()
    assert all(0.29 <= later.t - call.t < 1.5 for call, later in pairwise(calls))
    assert len(calm.endpoint.calls()) == 1


async def test_next_sync_after_mutes_idle_calls_until_then_but_not_events(store: Store, sign_up: SignUp):
    until_when = time.time() + 1.5
    acme = await sign_up("acme", Manners(says={"next_sync_after": until_when}))
    async with reporting(store, replace(TERMS, interval=0.1)):
        await until(lambda: len(acme.endpoint.calls()) == 1)
        await acme.happens("a")
        await until(acme.is_told_everything)
        await until(lambda: len(acme.endpoint.calls()) == 3)
    first, event, idle = acme.endpoint.calls()[:3]
    assert first.items == () == idle.items
    assert event.t < until_when
    assert until_when <= idle.t < until_when + 1.0


async def test_run_now_calls_at_once_whoever_wants_not_to_be_disturbed(store: Store, sign_up: SignUp):
    muted = await sign_up("muted", Manners(says={"next_sync_after": time.time() + 3600}))
    other = await sign_up("other")
    async with reporting(store):
        await until(lambda: len(muted.endpoint.calls()) == len(other.endpoint.calls()) == 1)
        await store.reports.poke(muted.pk)
        await until(lambda: len(muted.endpoint.calls()) == 2)
        assert len(other.endpoint.calls()) == 1
        await store.reports.poke(None)
        await until(lambda: len(muted.endpoint.calls()) == 3 and len(other.endpoint.calls()) == 2)


async def test_two_reporters_tell_nothing_twice(store: Store, sign_up: SignUp):
    customers = [await sign_up(f"tenant{n}", Manners(delay=0.05)) for n in range(5)]
    async with reporting(store), reporting(store):
        for round_ in range(3):
            for customer in customers:
                await customer.happens(*(f"{round_}-{n}" for n in range(5)))
        for customer in customers:
            await until(customer.is_told_everything)
    for customer in customers:
        assert len(customer.event_ids()) == len(set(customer.event_ids())) == 15


async def test_a_call_under_way_is_finished_before_the_end(store: Store, sign_up: SignUp):
    acme = await sign_up("acme", Manners(delay=0.4))
    await acme.happens("a")
    async with reporting(store, drain=3.0) as running:
        await until(lambda: len(acme.endpoint.calls()) == 1)
        running.stopping.set()
        assert await running.exit_code() is None
    assert await acme.is_told_everything()


async def test_a_reporter_declared_dead_ends_to_be_started_anew(store: Store, sign_up: SignUp):
    async with reporting(store) as running:
        await store.fleet.leave(running.reporter.epoch)
        assert await running.exit_code() == 75


async def test_the_program_registers_reports_and_leaves(settings: Settings, store: Store, sign_up: SignUp):
    acme = await sign_up("acme")
    await acme.happens("a")
    life = Life(settings, role="reporter", number=0, owner="reporter-of-the-test")
    program = asyncio.create_task(entry(life))
    await until(acme.is_told_everything)
    assert [(p.owner, p.role) for p in await store.fleet.processes()] == [
        ("reporter-of-the-test", "reporter")
    ]
    life.stop(5.0)
    assert await asyncio.wait_for(program, 15) is None
    assert await store.fleet.processes() == []


async def test_tenants_without_a_url_are_told_at_the_global_one(
    settings: Settings, store: Store, sign_up: SignUp
):
    hub = await sign_up("hub")
    url = f"{hub.endpoint.url}/global"
    with_fallback = settings.model_copy(
        update={"client_sync_url": url, "client_sync_user": "u", "client_sync_password": SecretStr("p")}
    )
    everybody = await open_store(with_fallback, role="test")
    plain = replace(await sign_up("plain", client_base_url=None), store=everybody)
    await plain.happens("a")
    life = Life(with_fallback, role="reporter", number=0, owner="reporter-of-the-test")
    program = asyncio.create_task(entry(life))
    await until(plain.is_told_everything)
    life.stop(5.0)
    assert await asyncio.wait_for(program, 15) is None
    await everybody.aclose()
    (call,) = [call for call in hub.endpoint.calls() if call.items]
    assert (call.path, call.items[0]["tenant_id"]) == ("/global", "plain")
    assert call.headers["authorization"] == "Basic dTpw"


async def test_a_url_that_a_tenant_set_is_not_called_inside(sign_up: SignUp) -> None:
    acme = await sign_up("acme", url_set_by_tenant=True)
    other = await sign_up("other")
    for customer in (acme, other):
        await customer.happens("m1")
    async with reporting(acme.store):
        await until(other.is_told_everything)
        await until(lambda: _has_failed(acme))
    assert acme.endpoint.requests == []
    assert await acme.waiting() == ["m1"]


async def _has_failed(customer: Customer) -> bool:
    standings = await customer.store.reports.standings(after=None, limit=10)
    return any(one.tenant_id == customer.id and one.fails for one in standings)
