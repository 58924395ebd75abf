"""From an endpoint that takes nothing to its recovery: through the API, against real calls."""

from dataclasses import replace

from mailproxy.config import Settings
from mailproxy.store import Store
from tests.api.conftest import Api, api_on
from tests.reporter.conftest import TERMS, Customer, SignUp, reporting, until
from tests.support.tenant import Manners
from workers.housekeeping import set_aside


def soon(settings: Settings) -> Settings:
    """Dead after no time at all: what failed once is set aside at the next tick."""
    return settings.model_copy(update={"report_dead_after": 1e-6})


async def buried(store: Store, settings: Settings, customer: Customer, count: int) -> None:
    """Tick until so many of the customer's events are dead letters."""

    async def done() -> bool:
        await set_aside(store, soon(settings))
        return (await customer.standing()).dead == count

    await until(done)


async def letters(api: Api) -> list[str]:
    return [one["id"] for one in (await api.admin.get("/dead-letters")).json()["dead_letters"]]


async def test_what_an_endpoint_does_not_take_is_set_aside_and_told_after_a_replay(
    settings: Settings, store: Store, sign_up: SignUp
) -> None:
    acme = await sign_up("acme", Manners(status=503))
    await acme.happens("a", "b", "c")
    async with api_on(settings, store) as api, reporting(store):
        await until(lambda: len(acme.endpoint.calls()) >= 2)
        await buried(store, settings, acme, 3)
        assert await letters(api) == ["a", "b", "c"]
        first = acme.event_ids()[0]
        acme.endpoint.behave(Manners())
        calls = len(acme.endpoint.items())
        answer = await api.admin.post("/dead-letters/replay", json={"event_ids": [first]})
        assert answer.json()["replayed"] == 1
        await until(lambda: acme.told()[calls:] == ["a"])
        await api.admin.post("/dead-letters/replay", params={"tenant_id": "acme"})
        await until(lambda: acme.told()[calls:] == ["a", "b", "c"])
        await until(acme.is_told_everything)
        assert await letters(api) == []
    assert len(set(acme.event_ids())) == 3, "each event keeps its id"


async def test_an_event_that_is_always_named_in_error_ends_as_a_dead_letter_and_holds_up_nobody(
    settings: Settings, store: Store, sign_up: SignUp
) -> None:
    acme = await sign_up("acme", Manners(says={"ok": True, "error": ["bad"]}))
    await acme.happens("good", "bad")
    async with api_on(settings, store) as api, reporting(store):
        await until(lambda: acme.told().count("bad") >= 3)
        await acme.happens("better")
        await until(lambda: acme.told().count("better") == 1)
        await buried(store, settings, acme, 1)
        (letter,) = (await api.admin.get("/dead-letters")).json()["dead_letters"]
        assert (letter["id"], letter["cause"]) == ("bad", "named in error")
        assert letter["refusals"] >= 3
    assert acme.told().count("good") == acme.told().count("better") == 1


async def test_one_event_that_upsets_the_endpoint_is_singled_out_and_the_others_are_told(
    store: Store, sign_up: SignUp
) -> None:
    acme = await sign_up("acme", *[Manners(status=500)] * 3, Manners())
    await acme.happens(*(f"m{n:02}" for n in range(50)))
    async with reporting(store, replace(TERMS, pace=replace(TERMS.pace, most_items=100))):
        await until(acme.is_told_everything)
    sizes = [len(call.items) for call in acme.endpoint.calls() if call.items]
    assert sizes[:3] == [50, 5, 1]
    taken = [item["id"] for call in acme.endpoint.calls()[3:] for item in call.items]
    assert sorted(taken) == [f"m{n:02}" for n in range(50)]


async def test_a_switched_off_endpoint_is_told_everything_after_it_is_switched_on(
    settings: Settings, store: Store, sign_up: SignUp
) -> None:
    acme = await sign_up("acme", Manners(status=410))
    await acme.happens("a")
    async with api_on(settings, store) as api, reporting(store):

        async def shown() -> bool:
            return "switched_off" in (await api.admin.get("/tenant/acme")).json()

        await until(shown)
        assert len(acme.endpoint.calls()) == 10
        await acme.happens("b")
        await set_aside(store, soon(settings))
        assert (await acme.standing()).pending == 2, "they wait, however long it takes"
        acme.endpoint.behave(Manners())
        assert (await api.admin.put("/tenant/acme", json={"switch_on": True})).status_code == 200
        await until(acme.is_told_everything)
        assert not await shown()
    assert acme.told()[-2:] == ["a", "b"]


async def test_the_count_of_410_outlives_the_reporter(store: Store, sign_up: SignUp) -> None:
    acme = await sign_up("acme", Manners(status=410))
    await acme.happens("a")
    async with reporting(store, drain=10.0):
        await until(lambda: len(acme.endpoint.calls()) >= 5)
    async with reporting(store):

        async def is_off() -> bool:
            return (await acme.standing()).switched_off is not None

        await until(is_off)
    assert len(acme.endpoint.calls()) == 10
