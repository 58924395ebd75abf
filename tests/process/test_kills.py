"""SIGKILL of each part of the service while messages are on their way (RELIABILITY F1, F5 to F7, F9).

All accounts hold what is in doubt, so nothing may arrive twice; what the servers wrote down is what counts.
"""

import time
from dataclasses import dataclass

import pytest

from tests.process.conftest import LEASE, add_tenant
from tests.process.peers import Load, SmtpServer, TenantEndpoint, letters
from tests.process.service import Service, until

SESSIONS = 10
BATCH, AT_MOST = 4, 4_000


@dataclass(frozen=True, slots=True)
class Kill:
    """`in_doubt` outcomes a kill may leave open, and the seconds `within` which account and role go on.

    What only somebody outside starts again is given the time from there.
    """

    victim: str
    times: int = 1
    in_doubt: int = 0
    within: float = 10.0

    @property
    def ends_service(self) -> bool:
        return self.victim in ("supervisor", "everything")


KILLS = [
    Kill("sender", times=3, in_doubt=SESSIONS, within=LEASE),
    Kill("reporter"),
    Kill("scout"),
    Kill("maintenance"),
    Kill("worker"),
    Kill("api"),
    Kill("supervisor", within=2 * LEASE),
    Kill("everything", in_doubt=SESSIONS, within=2 * LEASE),
]


@pytest.mark.parametrize("kill", KILLS, ids=lambda kill: str(kill.victim))
def test_killed_under_load(kill: Kill, service: Service, smtp: SmtpServer, endpoint: TenantEndpoint) -> None:
    tenant = add_tenant(service, smtp, endpoint)
    batches = (
        letters(tenant, "main", range(n, n + BATCH), to="slow50@example.com")
        for n in range(0, AT_MOST, BATCH)
    )
    with Load(service, batches, pause=0.01) as load:
        for number in range(kill.times):
            arrived = 30 + number * 50
            until(
                lambda n=arrived: len(smtp.times(tenant)) >= n and len(endpoint.ids(tenant, "sent")) >= n / 5
            )
            kill_and_see_it_go_on(kill, service, load, tenant, smtp)
        load.end()
        load.finish()
    in_doubt = kill.times * kill.in_doubt
    check_that_nothing_is_lost_or_doubled(service, tenant, load.accepted, smtp, endpoint, in_doubt)


def kill_and_see_it_go_on(kill: Kill, service: Service, load: Load, tenant: str, smtp: SmtpServer) -> None:
    before = set(service.pids(kill.victim)) if not kill.ends_service else set()
    killed_at = since = time.time()
    service.kill(kill.victim)
    assert load.goes_on, "everything had been accepted before the kill"
    if kill.ends_service:
        service.start()
        since = time.time()
    else:
        until(lambda: set(service.pids(kill.victim)) - before, kill.within, so=service.last_words)
    # What was between dot and reply when its sender died is written down by the server a moment later.
    settled = killed_at + 0.2
    goes_on = lambda: smtp.deliveries(tenant)[-1].t > settled  # noqa: E731
    until(goes_on, kill.within - (time.time() - since), so=service.last_words)
    left = 10 - (time.time() - killed_at)
    until(lambda: not service.orphans(), left, so=lambda: f"orphans: {service.orphans()}")


def check_that_nothing_is_lost_or_doubled(
    service: Service,
    tenant: str,
    accepted: set[str],
    smtp: SmtpServer,
    endpoint: TenantEndpoint,
    in_doubt: int,
) -> None:
    messages = service.until_final(tenant)
    arrived = smtp.times(tenant)
    assert {id_: n for id_, n in arrived.items() if n > 1} == {}, "handed over twice"
    unknown = {id_ for id_, record in messages.items() if record["status"] == "unknown"}
    sent = {id_ for id_, record in messages.items() if record["status"] == "sent"}
    assert set(messages) == accepted == set(arrived) | unknown, "lost"
    assert accepted - unknown == sent <= set(arrived)
    assert len(unknown) <= in_doubt
    until(lambda: endpoint.ids(tenant, "sent", "unknown") == accepted, so=service.last_words)
    events = {(told.event_id, told.id, told.kind) for told in endpoint.told(tenant)}
    assert len({event_id for event_id, _, _ in events}) == len(events), "one event id for two events"
    assert len([kind for _, _, kind in events if kind in ("sent", "unknown")]) == len(accepted)
