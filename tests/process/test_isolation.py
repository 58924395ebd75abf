"""Who has trouble delays nobody else, and who is suspended sends no more."""

from collections.abc import Iterator

import pytest

from tests.process.conftest import add_tenant
from tests.process.peers import Load, SmtpServer, TenantEndpoint, letters, smtp_server, tenant_endpoint
from tests.process.service import Service, until

SESSIONS = 10
PROMPT = 3.0


@pytest.fixture(scope="module")
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpServer]:
    with smtp_server(tmp_path_factory.mktemp("hanging") / "log", hang="data") as server:
        yield server


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TenantEndpoint]:
    with tenant_endpoint(tmp_path_factory.mktemp("dead") / "log", {"hang": True}) as server:
        yield server


def test_a_hanging_server_delays_only_its_own_account(
    service: Service, tenant: str, smtp: SmtpServer, hanging: SmtpServer, endpoint: TenantEndpoint
) -> None:
    service.add_account(tenant, "hanging", hanging.port)
    stuck = service.post(letters(tenant, "hanging", range(30)))
    until(lambda: len(service.messages(tenant, status="sending")) >= SESSIONS, so=service.last_words)
    others = add_tenant(service, smtp, endpoint)
    prompt = service.post([*letters(tenant, "main", range(30)), *letters(others, "main", range(30))])
    until(lambda: {*smtp.times(tenant), *smtp.times(others)} == prompt, PROMPT, so=service.last_words)
    assert hanging.deliveries(tenant) == []
    assert set(service.messages(tenant, active_only=True)) >= stuck


def test_a_dead_endpoint_delays_only_its_own_tenants_reports(
    service: Service, tenant: str, smtp: SmtpServer, endpoint: TenantEndpoint, dead: TenantEndpoint
) -> None:
    before = dead.calls
    deaf = add_tenant(service, smtp, dead)
    unheard = service.post(letters(deaf, "main", range(30)))
    until(lambda: dead.calls > before, so=service.last_words)
    heard = service.post(letters(tenant, "main", range(30)))
    until(lambda: endpoint.ids(tenant, "sent") == heard, PROMPT, so=service.last_words)
    until(lambda: set(smtp.times(deaf)) == unheard)
    assert [one for one in service.messages(deaf).values() if "reported_ts" in one] == []


@pytest.mark.parametrize("everybody", [False, True], ids=["tenant", "everybody"])
def test_after_the_answer_to_suspend_only_open_sessions_finish(
    everybody: bool, service: Service, tenant: str, smtp: SmtpServer
) -> None:
    count = 150
    batches = [letters(tenant, "main", range(n, n + 5), to="slow50@example.com") for n in range(0, count, 5)]
    whom = {} if everybody else {"tenant_id": tenant}
    with Load(service, batches, pause=0.01) as load:
        until(lambda: len(smtp.times(tenant)) >= 20, so=service.last_words)
        service.call("POST", "/commands/suspend", **whom)
        answered = len(smtp.times(tenant))
        assert load.goes_on, "everything had been accepted before the suspension"
        load.finish()
        until(lambda: not service.messages(tenant, status="sending"), so=service.last_words)
    finished = len(smtp.times(tenant))
    assert answered <= finished <= answered + SESSIONS
    assert finished < count, "everything had been sent before the suspension"
    service.call("POST", "/commands/activate", **whom)
    until(lambda: set(smtp.times(tenant)) == load.accepted, so=service.last_words)
    assert set(smtp.times(tenant).values()) == {1}
