import pytest
from mailproxy.records import *
from mailproxy.model import *

async def test_walk(store):
    print(await store.fleet.instance())
    assert await store.directory.put_tenant(TenantWrite(id="acme", client_base_url="http://127.0.0.1:1"), b"h"*32, "kid")
    t = await store.directory.tenant("acme")
    pk = await store.directory.put_account(t.pk, AccountWrite(id="main", host="127.0.0.1", port=25, password="pw"))
    got = await store.queue.enqueue(t.pk, [NewMessage(f"m{i}", pk, Priority.MEDIUM, '{"subject":"hé"}') for i in range(10)])
    assert all(e.message_id for e in got)
    again = await store.queue.enqueue(t.pk, [NewMessage("m1", pk, Priority.HIGH, '{}'), NewMessage("bad", None, Priority.HIGH, '{}', rejected="missing to"), NewMessage("m2", pk, Priority.HIGH, '{}', rejected="x")])
    print(again)
    e = await store.fleet.register("o1", "n1", "sender")
    due = await store.queue.due_accounts("n1", 2)
    print(due)
    assert (await store.queue.take_lease(pk, 0, epoch=e, ttl=15)).unclean is False
    e2 = await store.fleet.register("o2", "n1", "sender")
    assert await store.queue.take_lease(pk, 0, epoch=e2, ttl=15) is None
    c = await store.queue.claim(pk, 0, epoch=e, limit=5)
    assert [m.client_id for m in c.messages] == ["m1", "m0", "m2", "m3", "m4"]
    ids = [m.id for m in c.messages]
    assert await store.queue.intend(e, ids[:4]) == frozenset(ids[:4])
    assert await store.queue.intend(e, ids[4:], limited=True) == frozenset(ids[4:])
    s = await store.queue.settle(e, [Finish(ids[0], 1, 1, Status.SENT, EventType.SENT, EventDetail(attempt=1))], [Release(ids[1], 0, 1, delay=60, event=EventType.DEFERRED, detail=EventDetail(error="x"), recipients=(RecipientOutcome(1, True, "a@b"),))])
    assert s.settled == frozenset(ids[:2])
    print(await store.directory.messages(t.pk, MessageFilter(), after=None, limit=100))
    for st in State: await store.directory.messages(t.pk, MessageFilter(state=st, text="x", account_id="main"), after=None, limit=100)
    assert await store.queue.take_lease(pk, 0, epoch=e2, ttl=15, succeeds=["o1"])
    r = await store.queue.recover(pk, epoch=e2, node="n1", foreign_grace=60, poison_after=3)
    print(r)
    assert len(r.in_doubt) == 3
    late = await store.queue.settle(e, [Finish(ids[2], 0, 1, Status.SENT, EventType.SENT, EventDetail())])
    assert not late.late
    await store.queue.settle(e2, [Finish(ids[2], 0, 1, Status.UNKNOWN, EventType.UNKNOWN, EventDetail())])
    late = await store.queue.settle(e, [Finish(ids[2], 0, 1, Status.SENT, EventType.SENT, EventDetail())])
    assert late.late == {ids[2]}
    print(await store.directory.events(t.pk, "m2"))
    print(await store.directory.suspend(t.pk, "b")), print(await store.directory.suspend(t.pk, None)); print(await store.directory.activate(t.pk, "b"), await store.directory.activate(t.pk, None))
    print(await store.directory.suspend(None, None), await store.fleet.overview(), await store.directory.activate(None, None))
    print(await store.fleet.totals(), await store.fleet.depths(), await store.fleet.account_gauges(), await store.fleet.processes())
    calls = await store.reports.claim_tenants(e, limit=10, ttl=30, interval=300, fallback=False)
    assert len(calls) == 1
    p = await store.reports.pending(t.pk, 10); print(p)
    assert await store.reports.acknowledge(t.pk, e, [x.event_id for x in p]) == len(p)
    await store.reports.settle_call(t.pk, e, CallSettled(fails=0, called=True))
    print(await store.reports.next_call_in(300, fallback=False))
    await store.reports.poke(None)
    print(await store.directory.cancel(t.pk, "m9"), await store.directory.cancel(t.pk, "m2"), await store.directory.delete_messages(t.pk, ["m8", "nope", "m2"]))
    print(await store.directory.accounts(t.pk, after=None, limit=10), await store.directory.account_ids(t.pk), await store.directory.tenants(active_only=True, after=None, limit=5))
    print(await store.queue.back_off(pk, condition=AccountCondition.BACKING_OFF, reason="dns", cause="x", delay=5)); await store.queue.account_works(pk)
    print(await store.directory.cleanup(None, -10, limit=100), await store.directory.expire(limit=10), await store.fleet.forget_dead(100), await store.fleet.check())
    assert await store.queue.queued(t.pk, 100) > 1
    assert await store.directory.put_key("acme", b"x"*32, "k2", expires_at=None, keep_previous=10)
    assert await store.directory.principal(b"x"*32) and await store.directory.principal(b"h"*32)
    await store.queue.release_leases(e2); await store.fleet.leave(e2)
    await store.directory.delete_account(t.pk, "main"); await store.directory.delete_tenant("acme")
