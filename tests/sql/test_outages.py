"""What trouble with PostgreSQL becomes (RELIABILITY A4, F10-F17)."""

import asyncio

import psycopg
import pytest

from mailproxy.config import Settings
from mailproxy.errors import CommitUnknown, StorageUnavailable
from sql.engine import Work, one
from sql.queries import Step
from tests.sql.conftest import run_sql
from tests.sql.stores import a_role, a_world, on_postgres, proxied, through, works_again

pytestmark = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)


async def test_a_lost_commit_answer_is_an_unknown_commit_that_a_repeat_settles(settings: Settings) -> None:
    async with proxied(settings) as proxy, on_postgres(through(proxy, settings)) as store:
        world = await a_world(store)

        def cut() -> None:
            proxy.to_client.cut_after = 0

        proxy.to_server.when_seen = b"COMMIT"
        proxy.to_server.then = cut
        with pytest.raises(CommitUnknown):
            await world.post("m")
        proxy.come_back()
        assert run_sql(settings.database, "SELECT client_id FROM message") == [("m",)]
        await works_again(store.fleet.check)
        (again,) = await store.queue.enqueue({world.tenant: [world.message("m")]})
        assert (again.refused, again.replaced) == (None, True)


async def test_a_connection_lost_before_the_commit_is_tried_once_more(settings: Settings) -> None:
    async with proxied(settings) as proxy, on_postgres(through(proxy, settings)) as store:
        world = await a_world(store)
        proxy.reset_all()
        assert await world.post("m")
        proxy.to_server.when_seen = b"enqueue-me"
        proxy.to_server.then = proxy.reset_all
        with pytest.raises(StorageUnavailable) as refused:
            await world.post("n", payload='"enqueue-me"')
        assert not isinstance(refused.value, CommitUnknown)
        proxy.come_back()
        await works_again(store.fleet.check)
        assert await world.state("n") is None


async def test_a_server_that_is_down_is_unavailable_and_found_again(settings: Settings) -> None:
    async with proxied(settings) as proxy, on_postgres(through(proxy, settings)) as store:
        world = await a_world(store)
        proxy.go_down()
        for attempt in (store.fleet.check, store.fleet.instance):
            with pytest.raises(StorageUnavailable):
                await attempt()
        proxy.come_back()
        await works_again(store.fleet.check)
        assert await world.post("m")


async def test_no_server_at_the_start_is_unavailable(settings: Settings) -> None:
    async with proxied(settings) as proxy:
        proxy.go_down()
        with pytest.raises(StorageUnavailable):
            async with on_postgres(through(proxy, settings)):
                pass


async def test_a_backend_terminated_in_the_middle_leaves_nothing_behind(settings: Settings) -> None:
    die = "SELECT pg_terminate_backend(pg_backend_pid())"
    async with on_postgres(settings.database.url, die=die) as store:

        def dying() -> Work[None]:
            yield (Step("suspend", {"tenant": 7, "batch_code": ""}),)
            yield (Step("die"),)

        with pytest.raises(StorageUnavailable) as refused:
            await store.engine.write(dying)
        assert not isinstance(refused.value, CommitUnknown)
        await works_again(store.fleet.check)
        assert await store.engine.read(lambda: one("suspended_batches", tenant=7)) == []


async def test_a_restart_between_calls_goes_unnoticed(settings: Settings) -> None:
    async with on_postgres(settings.database.url) as store:
        await asyncio.gather(*(store.fleet.check() for _ in range(20)))
        killed = run_sql(
            settings.database,
            "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
            "WHERE application_name = 'mailproxy test' AND datname = current_database()",
        )
        assert killed[0][0] >= 1
        await asyncio.gather(*(store.fleet.check() for _ in range(20)))


async def test_a_read_only_server_is_unavailable_until_it_is_not(settings: Settings) -> None:
    name = psycopg.conninfo.conninfo_to_dict(settings.database.url)["dbname"]
    run_sql(settings.database, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    async with on_postgres(settings.database.url) as store:
        with pytest.raises(StorageUnavailable) as refused:
            await store.fleet.check()
        assert refused.value.error_code == "storage_read_only"
        assert await store.fleet.instance()
        with psycopg.connect(settings.database.url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'.encode())
        await works_again(store.fleet.check)


async def test_too_few_connections_make_calls_wait_not_fail(settings: Settings) -> None:
    with a_role(settings, 2) as url:
        async with on_postgres(url, connections=8) as store:
            await asyncio.gather(*(store.fleet.check() for _ in range(100)))
            with pytest.raises(StorageUnavailable):
                async with on_postgres(url):
                    pass
            await store.fleet.check()


async def test_two_units_that_lock_each_other_out_both_go_through(settings: Settings) -> None:
    lock = "SELECT pg_advisory_xact_lock(%(key)s)"
    async with on_postgres(settings.database.url, lock=lock) as store:

        def locking(first: int, second: int) -> Work[int]:
            yield (Step("lock", {"key": first}),)
            yield (Step("instance_bits"),)
            yield (Step("lock", {"key": second}),)
            return second

        found = await asyncio.gather(
            *(store.engine.write(lambda a=a, b=b: locking(a, b)) for a, b in ((1, 2), (2, 1)))  # type: ignore[misc]
        )
        assert found == [2, 1]
