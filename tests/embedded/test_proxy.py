"""The service inside a program: the same mail, answers and promises, without a process or a socket."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mailproxy import MailProxy
from mailproxy.config import Settings
from mailproxy.embedded.commands import COMMANDS
from tests.support.smtp import Sink
from tests.support.tenant import Endpoint

PATIENCE = 30.0
ON_SQLITE = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"drain_seconds": 5.0, "lease_seconds": 5.0, "retry_delays": (0.2,)})


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)


async def add_tenant(proxy: MailProxy, port: int, **tenant: object) -> None:
    made = await proxy.handle_command("addTenant", {"id": "acme", **tenant})
    assert made["ok"], made
    account = {"id": "main", "tenant_id": "acme", "host": "127.0.0.1", "port": port, "use_tls": False}
    assert await proxy.handle_command("addAccount", account) == {"ok": True}


def letters(numbers: Sequence[int], to: str = "bob@example.com") -> dict[str, Any]:
    common = {"tenant_id": "acme", "account_id": "main", "from": "alice@example.org", "to": to}
    return {
        "messages": [{"id": f"m{n}", "subject": f"letter {n}", "body": "hello", **common} for n in numbers]
    }


async def results_of(proxy: MailProxy, count: int) -> list[dict[str, Any]]:
    """The first `count` results."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE), aclosing(proxy.results()) as results:
        async for item in results:
            found.append(item)
            if len(found) == count:
                break
    return found


async def test_messages_go_out_and_their_results_come_in(settings: Settings, tmp_path: Path) -> None:
    async with Sink(tmp_path / "log") as sink, MailProxy(settings=settings) as proxy:
        await add_tenant(proxy, sink.port)
        queued = await proxy.handle_command("addMessages", letters(range(20)))
        assert (queued["ok"], queued["queued"], queued["rejected"]) == (True, 20, [])
        await proxy.handle_command("addMessages", letters([20], to="refuse550@example.com"))
        found = await results_of(proxy, 21)
        assert Counter(one.id for one in sink.messages()) == Counter(f"m{n}" for n in range(20))
    kinds = {item["id"]: item["event_type"] for item in found}
    assert kinds == {f"m{n}": "sent" for n in range(20)} | {"m20": "error"}
    (refused,) = (item for item in found if item["id"] == "m20")
    assert refused["tenant_id"] == "acme"
    assert refused["sent_ts"] is None
    assert "550" in refused["error"]


async def test_results_go_on_where_they_were_left(settings: Settings, tmp_path: Path) -> None:
    async with Sink(tmp_path / "log") as sink:
        async with MailProxy(settings=settings) as proxy:
            await add_tenant(proxy, sink.port)
            await proxy.handle_command("addMessages", letters([1]))
            (first,) = await results_of(proxy, 1)
        async with MailProxy(settings=settings, test_mode=True) as proxy:
            await proxy.handle_command("addMessages", letters([2]))
            await proxy.handle_command("run now")
            async with asyncio.timeout(PATIENCE), aclosing(proxy.results(after=first["event_id"])) as results:
                assert (await anext(results))["id"] == "m2"


async def test_results_end_with_the_proxy_and_lack_nothing(settings: Settings, tmp_path: Path) -> None:
    async with Sink(tmp_path / "log") as sink, MailProxy(settings=settings) as proxy:
        await add_tenant(proxy, sink.port)
        results = aiter(proxy.results())
        first = asyncio.ensure_future(anext(results))
        await proxy.handle_command("addMessages", letters(range(5)))
        found = [(await first)["id"]]
        await until(lambda: len(sink.messages()) == 5)
        await proxy.stop()
        async with asyncio.timeout(PATIENCE):
            found += [item["id"] async for item in results]
    assert sorted(found) == [f"m{n}" for n in range(5)]


async def test_in_test_mode_nothing_goes_out_before_run_now(settings: Settings, tmp_path: Path) -> None:
    async with Sink(tmp_path / "log") as sink:
        async with MailProxy(settings=settings, test_mode=True) as proxy:
            await add_tenant(proxy, sink.port)
            await proxy.handle_command("addMessages", letters([1]))
            listed = await proxy.handle_command("listMessages", {"tenant_id": "acme"})
            assert [one["status"] for one in listed["messages"]] == ["pending"]
        async with MailProxy(settings=settings, test_mode=True) as proxy:
            await proxy.handle_command("addMessages", letters([2]))
            listed = await proxy.handle_command("listMessages", {"tenant_id": "acme"})
            assert [one["status"] for one in listed["messages"]] == ["pending", "pending"]
            assert sink.messages() == []
            assert await proxy.handle_command("run now") == {"ok": True}
            assert {item["id"] for item in await results_of(proxy, 2)} == {"m1", "m2"}
        assert len(sink.messages()) == 2


async def test_two_proxies_on_one_database_send_each_message_once(settings: Settings, tmp_path: Path) -> None:
    async with (
        Sink(tmp_path / "log") as sink,
        MailProxy(settings=settings) as one,
        MailProxy(settings=settings) as other,
    ):
        await add_tenant(one, sink.port)
        for start in range(0, 100, 20):
            proxy = (one, other)[start // 20 % 2]
            added = await proxy.handle_command("addMessages", letters(range(start, start + 20)))
            assert added["queued"] == 20
        await results_of(other, 100)
        assert Counter(d.id for d in sink.messages()) == Counter(f"m{n}" for n in range(100))


async def test_a_proxy_takes_over_what_another_one_leaves(settings: Settings, tmp_path: Path) -> None:
    async with Sink(tmp_path / "log") as sink, MailProxy(settings=settings) as other:
        async with MailProxy(settings=settings) as one:
            await add_tenant(one, sink.port)
            await one.handle_command("addMessages", letters(range(30)))
            await until(sink.messages)
        await results_of(other, 30)
        assert Counter(d.id for d in sink.messages()) == Counter(f"m{n}" for n in range(30))


async def test_tenants_get_their_reports(settings: Settings, tmp_path: Path) -> None:
    async with (
        Sink(tmp_path / "smtp") as sink,
        Endpoint(tmp_path / "tenant") as endpoint,
        MailProxy(settings=settings) as proxy,
    ):
        await add_tenant(proxy, sink.port, client_base_url=f"http://127.0.0.1:{endpoint.port}")
        await proxy.handle_command("addMessages", letters([1]))
        await until(lambda: [item["id"] for call in endpoint.calls() for item in call.items] == ["m1"])


@ON_SQLITE
async def test_a_program_that_could_not_run_is_started_again(settings: Settings, tmp_path: Path) -> None:
    journals = settings.state_dir / "journal"
    async with Sink(tmp_path / "log") as sink, MailProxy(settings=settings) as proxy:
        await add_tenant(proxy, sink.port)
        journals.write_text("no place for a journal")
        with capture_logs() as said:
            await proxy.handle_command("addMessages", letters([1]))
            await until(lambda: "program_interrupted" in {line["event"] for line in said})
        assert sink.messages() == []
        journals.unlink()
        await results_of(proxy, 1)
        assert len(sink.messages()) == 1


async def test_a_stop_that_is_cut_short_leaves_nothing_at_work(settings: Settings, tmp_path: Path) -> None:
    patient = settings.model_copy(update={"drain_seconds": 60.0})
    before = asyncio.all_tasks()
    async with Sink(tmp_path / "log", hang="dot") as sink:
        before |= asyncio.all_tasks()
        proxy = MailProxy(settings=patient)
        await proxy.start()
        await add_tenant(proxy, sink.port)
        await proxy.handle_command("addMessages", letters([1]))
        await until(lambda: "DATA" in sink.commands)
        stopping = asyncio.create_task(proxy.stop())
        await asyncio.wait([stopping], timeout=0.2)
        assert not stopping.done()
        stopping.cancel()
        await asyncio.wait([stopping])
        await until(lambda: all("Sink." in repr(task) for task in asyncio.all_tasks() - before))


@ON_SQLITE
async def test_errors_are_answers(settings: Settings) -> None:
    async with MailProxy(settings=settings) as proxy:
        missing = await proxy.handle_command("getTenant", {"id": "nobody"})
        assert (missing["ok"], missing["status"], missing["code"]) == (False, 404, "tenant_not_found")
        assert missing["error"] == "Tenant 'nobody' not found"
        invalid = await proxy.handle_command("addTenant", {"id": "no spaces", "active": "perhaps"})
        assert (invalid["status"], invalid["code"]) == (422, "validation_error")
        assert invalid["error"].startswith("body.active: ")
        rejected = await proxy.handle_command("addMessages", {"messages": [{"id": "m1"}]})
        assert (rejected["ok"], rejected["status"]) == (False, 400)
        assert rejected["rejected"][0]["id"] == "m1"
        unknown = await proxy.handle_command("addMessage")
        assert (unknown["ok"], unknown["status"]) == (False, 404)
        assert "did you mean 'addMessages'?" in unknown["error"]
        nameless = await proxy.handle_command("getTenant")
        assert not nameless["ok"]


@ON_SQLITE
async def test_a_call_under_an_idempotency_key_happens_once(settings: Settings) -> None:
    async with MailProxy(settings=settings, test_mode=True) as proxy:
        await add_tenant(proxy, 25)
        first = await proxy.handle_command("addMessages", letters([1]), idempotency_key="one")
        assert first["queued"] == 1
        assert await proxy.handle_command("addMessages", letters([1]), idempotency_key="one") == first
        other = await proxy.handle_command("addMessages", letters([2]), idempotency_key="one")
        assert (other["status"], other["code"]) == (422, "idempotency_key_reused")


@ON_SQLITE
async def test_every_command_is_a_route_that_answers(settings: Settings) -> None:
    async with MailProxy(settings=settings) as proxy:
        for name in COMMANDS:
            answer = await proxy.handle_command(
                name, {"id": "x", "tenant_id": "t", "ids": ["m"], "as": "sent"}
            )
            assert answer["ok"] or answer["status"] in (400, 404, 422), (name, answer)
            assert answer.get("code") not in ("not_found", "method_not_allowed", "unknown_command"), (
                name,
                answer,
            )


@ON_SQLITE
async def test_its_metrics_count_what_it_sent(settings: Settings, tmp_path: Path) -> None:
    async with Sink(tmp_path / "log") as sink, MailProxy(settings=settings) as proxy:
        await add_tenant(proxy, sink.port)
        await proxy.handle_command("addMessages", letters([1]))
        await results_of(proxy, 1)
        text = await proxy.metrics()
    assert 'gmp_sent_total{account_id="main",tenant_id="acme"}' in text
    assert "gmp_pending_messages 0.0" in text


@ON_SQLITE
async def test_sending_may_start_suspended(settings: Settings, tmp_path: Path) -> None:
    async with Sink(tmp_path / "log") as sink, MailProxy(settings=settings, start_active=False) as proxy:
        await add_tenant(proxy, sink.port)
        await proxy.handle_command("addMessages", letters([1]))
        assert (await proxy.handle_command("status"))["active"] is False
        assert sink.messages() == []
        assert (await proxy.handle_command("activate"))["active"] is True
        await results_of(proxy, 1)


@ON_SQLITE
async def test_it_refuses_to_work_before_its_start_and_after_its_end(settings: Settings) -> None:
    proxy = MailProxy(settings=settings)
    with pytest.raises(RuntimeError, match="start"):
        await proxy.handle_command("status")
    async with proxy:
        assert (await proxy.handle_command("status"))["ok"]
    with pytest.raises(RuntimeError, match="start"):
        await proxy.handle_command("status")
    with pytest.raises(RuntimeError, match="another"):
        await proxy.start()
    await proxy.stop()
