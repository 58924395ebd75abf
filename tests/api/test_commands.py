"""run-now, suspend and activate over HTTP."""

import asyncio

import pytest

from mailproxy.config import Settings
from mailproxy.store import Store
from sql.open import open_store
from tests.api.conftest import Api, api_on, heard, message
from tests.api.test_submission import add, claim_all


async def test_a_tenant_is_suspended_and_activated(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("m1"), message("m2", batch_code="b1"))
    answer = await tenant.post("/commands/suspend")
    assert answer.json() == {
        "ok": True,
        "tenant_id": "acme",
        "suspended_batches": ["*"],
        "pending_messages": 2,
    }
    assert (await tenant.get("/messages/m1")).json()["status"] == "suspended"
    again = await tenant.post("/commands/suspend", params={"batch_code": "b1"})
    assert again.json()["suspended_batches"] == ["*"]
    single = await tenant.post("/commands/activate", params={"batch_code": "b1"})
    assert single.status_code == 400
    assert single.json()["detail"] == "tenant not found or cannot activate single batch from full suspension"
    activated = await tenant.post("/commands/activate")
    assert activated.json()["suspended_batches"] == []
    assert (await tenant.get("/messages/m1")).json()["status"] == "pending"


async def test_a_batch_is_suspended_alone(api: Api) -> None:
    tenant = await api.as_tenant()
    await add(tenant, message("m1"), message("m2", batch_code="b1"))
    answer = await tenant.post("/commands/suspend", params={"batch_code": "b1"})
    assert answer.json() == {
        "ok": True,
        "tenant_id": "acme",
        "batch_code": "b1",
        "suspended_batches": ["b1"],
        "pending_messages": 1,
    }
    assert (await tenant.get("/messages/m1")).json()["status"] == "pending"
    assert (await tenant.get("/messages/m2")).json()["status"] == "suspended"
    assert (await tenant.post("/commands/activate", params={"batch_code": "b1"})).json()[
        "suspended_batches"
    ] == []


@pytest.mark.bad_input("B26")
async def test_a_batch_code_cannot_smuggle_a_full_suspension(api: Api) -> None:
    tenant = await api.as_tenant()
    for code in ("*", "a,*", "a,b", "%", "x" * 65, ""):
        answer = await tenant.post("/commands/suspend", params={"batch_code": code})
        assert answer.status_code == 422, code
    await add(tenant, message("m1"))
    assert (await tenant.get("/messages/m1")).json()["status"] == "pending"


async def test_the_admin_suspends_the_whole_scheduler(api: Api) -> None:
    tenant = await api.as_tenant()
    assert (await api.admin.post("/commands/suspend")).json() == {"ok": True, "active": False}
    status = (await tenant.get("/status")).json()
    assert (status["active"], status["scheduler_active"]) == (False, False)
    assert (await api.admin.post("/commands/activate")).json() == {"ok": True, "active": True}
    assert (await tenant.get("/status")).json()["active"] is True


async def test_a_scheduler_that_was_suspended_stays_so_over_a_restart(
    settings: Settings, store: Store
) -> None:
    async with api_on(settings, store) as api:
        tenant = await api.as_tenant()
        await add(tenant, message("m1"))
        epoch, claimed = await claim_all(store)
        assert (await api.admin.post("/commands/suspend")).json() == {"ok": True, "active": False}
        assert await store.queue.intend(epoch, [one.id for one in claimed]) == frozenset()
    reopened = await open_store(settings, role="test")
    try:
        async with api_on(settings, reopened) as api:
            assert (await api.admin.get("/status")).json()["active"] is False
            assert (await api.admin.post("/commands/activate")).json() == {"ok": True, "active": True}
            assert (await api.admin.get("/status")).json()["scheduler_active"] is True
        assert len(await reopened.queue.intend(epoch, [one.id for one in claimed])) == 1
    finally:
        await reopened.aclose()


async def test_a_tenant_sees_how_many_of_its_own_messages_wait(api: Api) -> None:
    tenant, other = await api.as_tenant(), await api.as_tenant("other")
    await add(tenant, message("m1"), message("m2"))
    await add(other, message("m1"))
    pending = [(await one.get("/status")).json()["pending"] for one in (tenant, other, api.admin)]
    assert pending == [2, 1, 3]


async def test_the_admin_suspends_one_tenant(api: Api) -> None:
    await api.tenant()
    params = {"tenant_id": "acme"}
    assert (await api.admin.post("/commands/suspend", params=params)).json()["suspended_batches"] == ["*"]
    assert (await api.admin.get("/status")).json()["active"] is True
    unknown = await api.admin.post("/commands/suspend", params={"tenant_id": "none"})
    assert (unknown.status_code, unknown.json()["detail"]) == (400, "tenant not found")
    assert (await api.admin.post("/commands/activate", params={"tenant_id": "none"})).status_code == 400
    assert (await api.admin.post("/commands/suspend", params={"batch_code": "b"})).status_code == 422


async def test_run_now_wakes_dispatch_and_reports(api: Api) -> None:
    tenant = await api.as_tenant()
    assert (await tenant.post("/commands/run-now")).json() == {"ok": True}
    await heard(api.store, {"queue", "reports"}, lambda: tenant.post("/commands/run-now"))
    assert (await api.admin.post("/commands/run-now")).json() == {"ok": True}
    unknown = await api.admin.post("/commands/run-now", params={"tenant_id": "none"})
    assert unknown.status_code == 404


async def test_a_tenant_cannot_wake_another(api: Api) -> None:
    await api.tenant("other")
    tenant = await api.as_tenant()
    assert (await tenant.post("/commands/run-now", params={"tenant_id": "acme"})).json() == {"ok": True}
    refused = await tenant.post("/commands/run-now", params={"tenant_id": "other"})
    assert (refused.status_code, refused.json()["code"]) == (401, "tenant_not_authorized")


async def test_in_test_mode_only_run_now_wakes_the_senders(settings: Settings, store: Store) -> None:
    async with api_on(settings.model_copy(update={"test_mode": True}), store) as api:
        tenant = await api.as_tenant()
        topics: list[str] = []

        async def listen() -> None:
            async with store.wakeups.listen() as announced:
                async for topic in announced:
                    topics.append(topic)

        async def until_heard(mark: str) -> None:
            while mark not in topics:
                await store.wakeups.announce(mark)
                await asyncio.sleep(0.02)

        listener = asyncio.create_task(listen())
        await until_heard("before")
        await add(tenant, message("m1"))
        await tenant.post("/commands/activate")
        await tenant.post("/account/main/reset")
        await until_heard("after")
        assert "queue" not in topics
        while "queue" not in topics:
            await tenant.post("/commands/run-now")
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
