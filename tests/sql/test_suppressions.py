"""Suppression lists on both databases: entries, their ends, and what bounces enter by themselves."""

import time
from dataclasses import replace

import pytest

from mailproxy.inbound import Fate, Returned, Told
from mailproxy.model import EventType
from mailproxy.records import RecipientOutcome, TenantWrite
from mailproxy.suppressions import Cause, NewSuppression, SuppressionFilter
from sql.engine import alone
from sql.suppressions import bounced
from tests.sql.conftest import World, back
from tests.sql.test_inbound import bounce as inbound_bounce
from tests.sql.test_inbound import failed, reader, sent_message

ANY = SuppressionFilter()


async def listed(world: World, wanted: SuppressionFilter = ANY, *, after: str = "") -> list[str]:
    found = await world.store.suppressions.listed(world.tenant, wanted, after=after, limit=100)
    return [entry.address for entry in found]


async def bounce(world: World, address: str, client_id: str) -> None:
    (message,) = await world.post(client_id)
    step = bounced(world.tenant, message, {address: Cause.HARD_BOUNCE})
    await world.store.engine.write(lambda: alone(step))


async def let_bounces_suppress(world: World) -> None:
    """The tenant wants bounces to suppress."""
    await world.store.directory.put_tenant(TenantWrite(id="acme", suppress_bounces=True), None, None)


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
    await bounce(world, "a@x.org", "m0")
    assert await listed(world) == []
    await let_bounces_suppress(world)
    await store.suppressions.add(
        world.tenant,
        [NewSuppression("b@x.org"), NewSuppression("c@x.org", expires_at=time.time() - 60)],
    )
    for number, address in enumerate(("A@x.org", "b@x.org", "c@x.org")):
        await bounce(world, address, f"m{number + 1}")
    found = await store.suppressions.listed(world.tenant, ANY, after="", limit=9)
    assert [(one.address, one.cause, one.expires_at) for one in found] == [
        ("a@x.org", Cause.HARD_BOUNCE, None),
        ("b@x.org", Cause.MANUAL, None),
        ("c@x.org", Cause.HARD_BOUNCE, None),
    ]


async def test_only_proven_bounces_of_dead_addresses_and_complaints_suppress(world: World) -> None:
    await let_bounces_suppress(world)
    everybody = ("dead@x.org", "Full@x.org", "Cross@x.org", "forged@x.org")
    message = await sent_message(world, "m1", *everybody)
    imap = await reader(world)
    proofs = (imap.token(message),)
    dead, forged = (replace(failed(one), address_is_dead=True) for one in ("dead@x.org", "forged@x.org"))
    await imap.take(inbound_bounce(dead, failed("full@x.org", "522"), proofs=proofs))
    await imap.take(inbound_bounce(forged, client_id="m1"))
    await imap.take(Returned("complaint", (Fate(Told.COMPLAINED, ("cross@x.org",)),), proofs=proofs))
    found = await world.store.suppressions.listed(world.tenant, ANY, after="", limit=9)
    events = await world.store.directory.events(world.tenant, "m1")
    assert events is not None
    numbers = {e.detail.recipient: e.event_id for e in events if e.event_type is not EventType.SENT}
    assert set(numbers) == set(everybody)
    assert [(one.address, one.cause, one.event_id) for one in found] == [
        ("cross@x.org", Cause.COMPLAINT, numbers["Cross@x.org"]),
        ("dead@x.org", Cause.HARD_BOUNCE, numbers["dead@x.org"]),
    ]


async def test_a_complaint_that_hides_its_author_is_that_of_the_only_recipient(world: World) -> None:
    await let_bounces_suppress(world)
    message = await sent_message(world, "m1", "only@x.org")
    imap = await reader(world)
    await imap.take(Returned("complaint", (), proofs=(imap.token(message),)))
    (entry,) = await world.store.suppressions.listed(world.tenant, ANY, after="", limit=9)
    assert (entry.address, entry.cause) == ("only@x.org", Cause.COMPLAINT)
    assert entry.event_id is not None


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
