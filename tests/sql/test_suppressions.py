"""Suppression lists on both databases: entries, their ends, and what bounces enter by themselves."""

import time

import pytest

from mailproxy.model import TenantPk
from mailproxy.records import RecipientOutcome, TenantWrite
from mailproxy.suppressions import Cause, NewSuppression, SuppressionFilter
from sql.engine import alone
from sql.store import SqlStore
from sql.suppressions import bounced
from tests.sql.conftest import World, back

ANY = SuppressionFilter()


async def listed(world: World, wanted: SuppressionFilter = ANY, *, after: str = "") -> list[str]:
    found = await world.store.suppressions.listed(world.tenant, wanted, after=after, limit=100)
    return [entry.address for entry in found]


async def bounce(store: SqlStore, tenant: TenantPk, address: str, event: int) -> None:
    step = bounced(tenant, {address: event}, Cause.HARD_BOUNCE)

    await store.engine.write(lambda: alone(step))


async def test_what_is_said_of_an_address_last_counts(world: World) -> None:
    lists = world.store.suppressions
    assert await lists.add(world.tenant, [NewSuppression("a@x.org"), NewSuppression("b@x.org")]) == 2
    until = time.time() + 3600
    again = [NewSuppression("b@x.org", Cause.COMPLAINT, until), NewSuppression("c@x.org", Cause.IMPORT)]
    assert await lists.add(world.tenant, again) == 1
    _, b, _ = await lists.listed(world.tenant, ANY, after="", limit=9)
    assert (b.address, b.cause) == ("b@x.org", Cause.COMPLAINT)
    assert b.expires_at == pytest.approx(until)
    assert await listed(world, after="a@x.org") == ["b@x.org", "c@x.org"]
    assert await listed(world, SuppressionFilter(cause=Cause.IMPORT)) == ["c@x.org"]
    assert await lists.remove(world.tenant, "a@x.org")
    assert not await lists.remove(world.tenant, "a@x.org")
    assert await listed(world) == ["b@x.org", "c@x.org"]


async def test_wildcards_in_a_filter_are_letters(world: World) -> None:
    await world.store.suppressions.add(
        world.tenant, [NewSuppression("a_b@x.org"), NewSuppression("acb@x.org"), NewSuppression("50%@x.org")]
    )
    assert await listed(world, SuppressionFilter("a_b")) == ["a_b@x.org"]
    assert await listed(world, SuppressionFilter("%")) == ["50%@x.org"]


async def test_an_entry_past_its_time_counts_as_none_and_is_forgotten(world: World) -> None:
    lists = world.store.suppressions
    past = time.time() - 60
    await lists.add(world.tenant, [NewSuppression("a@x.org", expires_at=past), NewSuppression("b@x.org")])
    assert await listed(world) == ["b@x.org"]
    assert await lists.among(world.tenant, ["a@x.org", "b@x.org", "c@x.org"]) == {"b@x.org": Cause.MANUAL}
    assert await lists.add(world.tenant, [NewSuppression("a@x.org")]) == 1
    await lists.add(world.tenant, [NewSuppression("a@x.org", expires_at=past)])
    assert not await lists.remove(world.tenant, "a@x.org")
    await lists.add(world.tenant, [NewSuppression("a@x.org", expires_at=past)])
    assert await lists.forget(limit=10) == 1
    assert await lists.forget(limit=10) == 0
    assert await listed(world) == ["b@x.org"]


async def test_a_bounce_enters_an_address_only_for_a_tenant_that_wants_it_and_over_nothing(
    world: World,
) -> None:
    store = world.store
    await bounce(store, world.tenant, "a@x.org", 7)
    assert await listed(world) == []
    (tenant,) = await store.directory.tenants(active_only=False, after=None, limit=1)
    await store.directory.put_tenant(TenantWrite(id=tenant.id, suppress_bounces=True), None, None)
    await store.suppressions.add(
        world.tenant,
        [NewSuppression("b@x.org"), NewSuppression("c@x.org", expires_at=time.time() - 60)],
    )
    for event, address in enumerate(("a@x.org", "b@x.org", "c@x.org"), 7):
        await bounce(store, world.tenant, address, event)
        await bounce(store, world.tenant, address, 99)
    found = await store.suppressions.listed(world.tenant, ANY, after="", limit=9)
    assert [(one.address, one.cause, one.event_id, one.expires_at) for one in found] == [
        ("a@x.org", Cause.HARD_BOUNCE, 7, None),
        ("b@x.org", Cause.MANUAL, None, None),
        ("c@x.org", Cause.HARD_BOUNCE, 9, None),
    ]


async def test_a_tenants_list_goes_with_it_and_is_nobody_elses(world: World) -> None:
    store = world.store
    await store.directory.put_tenant(TenantWrite(id="passing"), None, None)
    passing = await store.directory.tenant("passing")
    assert passing is not None
    await store.suppressions.add(passing.pk, [NewSuppression("a@x.org")])
    assert await store.suppressions.among(world.tenant, ["a@x.org"]) == {}
    assert await listed(world) == []
    assert not await store.suppressions.remove(world.tenant, "a@x.org")
    assert not (await store.directory.admission(world.tenant)).suppresses
    assert (await store.directory.admission(passing.pk)).suppresses
    await store.directory.delete_tenant("passing")
    assert await store.suppressions.among(passing.pk, ["a@x.org"]) == {}


async def test_suppressed_recipients_are_settled_with_the_message_and_again_when_it_is_replaced(
    world: World,
) -> None:
    sender = await world.sender()
    first, second = (
        RecipientOutcome(n, False, f"{n}@x.org", 550, "5.7.1", "recipient_suppressed: manual", True)
        for n in (0, 1)
    )
    await world.post("m", suppressed=(first,))
    (claimed,) = await sender.claim()
    assert claimed.recipients == (first,)
    await sender.settle(back(claimed))
    await world.post("m", suppressed=(second,))
    (claimed,) = await sender.claim()
    assert claimed.recipients == (second,)
    await sender.settle(back(claimed))
    await world.post("m")
    (claimed,) = await sender.claim()
    assert claimed.recipients == ()
