"""A message that ends every process that prepares it, in a running service (RELIABILITY H10)."""

from pathlib import Path

import pytest

from tests.conftest import DIALECTS
from tests.process.conftest import add_tenant, database
from tests.process.peers import SmtpServer, TenantEndpoint, letters
from tests.process.service import Service, running, until
from tests.process.test_kills import SESSIONS
from tests.sender.doomed import POISONED

DOT = 30.0


class Poisoned(Service):
    def program(self) -> list[str]:
        return ["tests.campaign.serve", str(self.port), str(DOT), "--poison", self.poison]

    @property
    def poison(self) -> str:
        """The id of the message; another one for each of the folders."""
        return f"poison-{self.folder.name}"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_it_fails_after_three_deaths_of_its_own_and_all_others_go_on(
    dialect: str, smtp: SmtpServer, endpoint: TenantEndpoint, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with (
        database(dialect, tmp_path, request) as environ,
        running(tmp_path / dialect, environ, kind=Poisoned, GMP_LEASE_SECONDS="3") as service,
    ):
        assert isinstance(service, Poisoned)
        poison = service.poison
        tenant = add_tenant(service, smtp, endpoint)
        service.add_account(tenant, "other", smtp.port)
        service.post([*letters(tenant, "main", range(20)), *letters(tenant, "main", range(1), id=poison)])
        service.post([*letters(tenant, "main", range(20, 40)), *letters(tenant, "other", range(20))])
        messages = service.until_final(tenant, 60.0)
        bad = messages.pop(poison)
        assert bad["status"] == "error"
        assert "crashed_sender" in bad["error"]
        deaths = [event for event in service.events("ended") if event["code"] == POISONED]
        assert len(deaths) >= 3, service.last_words()
        arrived = smtp.times(tenant)
        assert poison not in {one.id for one in smtp.deliveries("poison")}
        assert set(arrived.values()) == {1}
        unknown = {id_ for id_, record in messages.items() if record["status"] == "unknown"}
        assert len(unknown) <= SESSIONS, "only the death that made them suspects could meet others in the act"
        assert {id_ for id_, record in messages.items() if record["status"] == "sent"} == set(
            messages
        ) - unknown
        assert set(messages) - unknown <= set(arrived)
        assert all(messages[f"{tenant}-other-{n}"]["status"] == "sent" for n in range(20))
        until(lambda: endpoint.ids("poison", "error") >= {poison}, so=service.last_words)
        assert service.stop() == 0
