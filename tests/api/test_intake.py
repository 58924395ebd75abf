"""When nothing is accepted: a quota is used up, the disk is full, the database is away."""

import json

import psycopg
import pytest

from mailproxy.api import answers
from mailproxy.config import Settings
from mailproxy.errors import CommitUnknown
from mailproxy.intake import Count, trusted
from mailproxy.store import Store
from tests.api.conftest import Api, api_on, message
from tests.api.test_submission import add


async def test_a_full_queue_is_429_and_takes_mail_again_when_it_has_room(
    settings: Settings, store: Store
) -> None:
    small = settings.model_copy(update={"max_queued_per_tenant": 3})
    async with api_on(small, store) as api:
        tenant = await api.as_tenant()
        other = await api.as_tenant("other")
        assert (await add(tenant, message("m1"), message("m2"))).json()["queued"] == 2
        refused = await add(tenant, message("m3"), message("m4"))
        assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
        assert int(refused.headers["retry-after"]) >= 1
        assert (await add(tenant, message("m3"))).json()["queued"] == 1
        assert (await add(tenant, message("m4"))).status_code == 429
        assert (await add(other, message("m1"))).json()["queued"] == 1
        found = (await tenant.get("/messages")).json()["messages"]
        assert [one["id"] for one in found] == ["m1", "m2", "m3"]


async def test_a_call_for_two_tenants_is_taken_whole_or_not_at_all(settings: Settings, store: Store) -> None:
    small = settings.model_copy(update={"max_queued_per_tenant": 1})
    async with api_on(small, store) as api:
        tenant = await api.as_tenant()
        other = await api.as_tenant("other")
        await add(other, message("m1"))
        both = [message("m2", tenant_id="acme"), message("m2", tenant_id="other")]
        assert (await add(api.admin, *both)).status_code == 429
        assert (await tenant.get("/messages")).json()["messages"] == []


async def test_low_disk_is_503_and_makes_the_node_unready(settings: Settings, store: Store) -> None:
    full = settings.model_copy(update={"min_free_disk_mb": 1 << 40})
    async with api_on(full, store) as api:
        tenant = await api.as_tenant()
        refused = await add(tenant, message("m1"))
        assert (refused.status_code, refused.json()["code"]) == (503, "disk_full")
        assert refused.headers["retry-after"] == "30"
        assert (await tenant.get("/messages")).json()["messages"] == []
        ready = await tenant.get("/readyz?verbose")
        assert ready.status_code == 503
        assert "MB free" in ready.json()["checks"]["disk"]["reason"]


def test_a_count_is_trusted_while_it_is_fresh_and_far_from_the_quota() -> None:
    assert not trusted(None, 1, 100, 0.0)
    assert trusted(Count(0, 0.0), 25, 100, 1.0)
    assert not trusted(Count(0, 0.0), 26, 100, 1.0)
    assert not trusted(Count(0, 0.0, added=25), 1, 100, 1.0)
    assert not trusted(Count(0, 0.0), 1, 100, 5.0)
    assert trusted(Count(100, 0.0), 1, 100, 0.5)
    assert not trusted(Count(100, 0.0), 1, 100, 1.0)


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_a_read_only_database_is_503_and_never_an_acceptance(api: Api, environ: dict[str, str]) -> None:
    tenant = await api.as_tenant()
    assert (await add(tenant, message("m1"))).status_code == 200
    _alter(environ["GMP_DATABASE_URL"], "SET default_transaction_read_only = on")
    refused = await add(tenant, message("m2"))
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["code"] in ("storage_read_only", "storage_unavailable")
    assert (await tenant.get("/readyz")).status_code == 503
    assert (await tenant.get("/health")).status_code == 200
    _alter(environ["GMP_DATABASE_URL"], "RESET default_transaction_read_only")
    while (await add(tenant, message("m3"))).status_code == 503:
        pass
    found = (await tenant.get("/messages")).json()["messages"]
    assert [one["id"] for one in found] == ["m1", "m3"]


def _alter(url: str, what: str) -> None:
    """Change the database's default and end the sessions that do not know it yet."""
    with psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=off") as connection:
        connection.execute(f'ALTER DATABASE "{connection.info.dbname}" {what}')
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_lost_commit_answer_says_so() -> None:
    answer = answers.error(CommitUnknown("The connection was lost during COMMIT"), "r1")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    body = json.loads(bytes(answer.body))
    assert (body["code"], body["request_id"]) == ("commit_unknown", "r1")


def test_a_bug_is_500_and_tells_nothing() -> None:
    answer = answers.error(KeyError("s3cret"), "r1")
    assert answer.status_code == 500
    assert b"s3cret" not in bytes(answer.body)
