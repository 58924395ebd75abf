"""SIGTERM and SIGHUP while messages are accepted and sent (RELIABILITY H15)."""

import signal

from tests.process.conftest import add_tenant
from tests.process.peers import Load, SmtpServer, TenantEndpoint, letters
from tests.process.service import Service, until
from tests.process.test_kills import check_that_nothing_is_lost_or_doubled

COUNT = 200


def slow_letters(tenant: str, size: int) -> list[list[dict[str, object]]]:
    return [
        letters(tenant, "main", range(n, n + size), to="slow50@example.com") for n in range(0, COUNT, size)
    ]


def test_a_stop_under_load_leaves_no_doubt_and_the_rest_goes_out_after_a_restart(
    service: Service, smtp: SmtpServer, endpoint: TenantEndpoint
) -> None:
    tenant = add_tenant(service, smtp, endpoint)
    with Load(service, slow_letters(tenant, 4), pause=0.01) as load:
        until(lambda: len(smtp.times(tenant)) >= 30, so=service.last_words)
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
        assert service.members() == []
        assert 0 < len(smtp.times(tenant)) < COUNT, "it was not stopped under load"
        stopped_at = len(smtp.times(tenant))
        service.start()
        states = {record["status"] for record in service.messages(tenant).values()}
        assert "unknown" not in states
        load.finish()
    check_that_nothing_is_lost_or_doubled(service, tenant, load.accepted, smtp, endpoint, in_doubt=0)
    assert len(smtp.times(tenant)) == COUNT > stopped_at


def test_a_reload_under_load_loses_nothing_and_no_client_sees_an_error(
    service: Service, smtp: SmtpServer, endpoint: TenantEndpoint
) -> None:
    tenant = add_tenant(service, smtp, endpoint)
    roles = ("api", "scout", "reporter", "maintenance", "sender")
    with Load(service, slow_letters(tenant, 1), pause=0.05) as load:
        until(lambda: len(smtp.times(tenant)) >= 10, so=service.last_words)
        before = {pid for role in roles for pid in service.pids(role)}
        known = len([event for event in service.events("started") if event["role"] == "sender"])
        service.signal(signal.SIGHUP)
        until(
            lambda: not before & {pid for role in roles for pid in service.pids(role)}, so=service.last_words
        )
        assert load.goes_on, "everything had been accepted before the last process was replaced"
        load.finish()
        assert load.refusals == []
        senders = [event for event in service.events("started") if event["role"] == "sender"]
        assert len(senders) <= known + 3, "senders are started although others still drain"
    assert all(service.pids(role) for role in roles)
    check_that_nothing_is_lost_or_doubled(service, tenant, load.accepted, smtp, endpoint, in_doubt=0)
