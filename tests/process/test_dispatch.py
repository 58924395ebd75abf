"""A message is on its way when it is accepted, not when somebody looks next."""

from pathlib import Path

import pytest

from tests.conftest import DIALECTS
from tests.process.conftest import add_tenant, database
from tests.process.peers import SmtpServer, TenantEndpoint, letters
from tests.process.service import Service, running, until


class Unpolled(Service):
    """Nobody looks for work unasked: what no hint tells of stays where it is."""

    def program(self) -> list[str]:
        return ["tests.campaign.serve", str(self.port), "30", "--unpolled"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_messages_on_each_others_heels_are_all_dispatched_by_hints(
    dialect: str, smtp: SmtpServer, endpoint: TenantEndpoint, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with (
        database(dialect, tmp_path, request) as environ,
        running(tmp_path / dialect, environ, kind=Unpolled) as service,
    ):
        tenant = add_tenant(service, smtp, endpoint)
        for number in range(40):
            service.post(letters(tenant, "main", range(number, number + 1)))
            until(lambda arrived=number + 1: len(smtp.times(tenant)) == arrived)
