"""docs/compatibility.md cannot claim what does not exist, nor deny what does."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from mailproxy import client, config, metrics
from mailproxy.api.app import ROUTES
from mailproxy.api.schemas import AccountInfo, AddMessages, MessageRecord, TenantInfo
from mailproxy.api.schemas_instance import InstanceInfo
from mailproxy.api.wire import AccountForm, TenantForm
from mailproxy.api.wire_instance import InstanceChange
from mailproxy.api.wire_messages import MessageFields
from mailproxy.cli.main import cli, instance_group, tenant_group
from mailproxy.figures import Overview
from mailproxy.model import EventDetail, EventType, MessageId, Priority, RefusedRecipient
from mailproxy.reports import Report
from workers.reporter.callback import told

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
REFUSED = RefusedRecipient("a@example.com", 550, None, "")
REPORT = Report(
    event_id=1,
    event_type=EventType.DEFERRED,
    event_ts=0.0,
    message_id=MessageId(1),
    client_id="m",
    account_id="a",
    priority=Priority.LOW,
    batch_code="b",
    detail=EventDetail(refused=(REFUSED,)),
)
FIELDS = {
    "Fields of a message": {*MessageFields.__annotations__, *AddMessages.__annotations__},
    "Answers about a message": set(MessageRecord.__annotations__),
    "Fields of a tenant": {*TenantForm.names(), *TenantInfo.__annotations__},
    "Fields of an account": {*AccountForm.names(), *AccountInfo.__annotations__},
    "Instance settings": {*InstanceChange.names(), *InstanceInfo.__annotations__},
    "Reports": {
        name
        for kind in (EventType.DEFERRED, EventType.BOUNCE, EventType.PEC_TIMEOUT)
        for name in told("t", replace(REPORT, event_type=kind), 1)
    },
}
SYNONYMS = {"LOG_LEVEL", "LOG_FORMAT", "MAIL_PROXY_DB_PATH"}
CONTEXT = {"GMP_INSTANCE", "GMP_TENANT"}


class Row(NamedTuple):
    section: str
    cells: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        return re.findall(r"`([^`]+)`", self.cells[0])

    @property
    def exists(self) -> bool:
        return self.cells[-2] != "not"


def rows() -> Iterator[Row]:
    section = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("|"):
            yield Row(section, tuple(cell.strip() for cell in line.strip("|").split("|")))


def has(thing: object, path: str) -> bool:
    with suppress(AttributeError):
        attrgetter(path)(thing)
        return True
    return False


def table(section: str) -> list[Row]:
    """Without its head."""
    found = [row for row in rows() if row.section == section]
    assert len(found) > 2, section
    return found[2:]


def marked(section: str) -> list[Any]:
    return [pytest.param(row, id=row.cells[0]) for row in table(section)]


TABLES = {row.section for row in rows() if "state" in row.cells}


@pytest.mark.parametrize("section", sorted(TABLES))
def test_every_row_has_one_of_three_states_and_says_what_is_better(section: str) -> None:
    for row in table(section):
        assert row.cells[-2] in ("same", "better", "not"), row


@pytest.mark.parametrize("row", marked("Endpoints"))
def test_an_endpoint_is_there_or_said_not_to_be(row: Row) -> None:
    (name,) = row.names
    assert (name in {f"{route.method} {route.template}" for route in ROUTES}) == row.exists


@pytest.mark.parametrize(("section", "names"), FIELDS.items())
def test_a_field_that_is_said_to_be_there_is_there(section: str, names: set[str]) -> None:
    missing = [name for row in table(section) if row.exists for name in row.names if name not in names]
    assert not missing


def command(words: Iterable[str]) -> click.Command | None:
    found: click.Command | None = cli
    for word in words:
        if word == "NAME" and found is cli:
            found = instance_group
        elif word == "TENANT":
            found = tenant_group
        elif word != "NAME":
            found = found.commands.get(word) if isinstance(found, click.Group) else None
    return found


@pytest.mark.parametrize("row", marked("Command line"))
def test_a_command_with_its_options_is_there_or_said_not_to_be(row: Row) -> None:
    (name,) = row.names
    found = command(name.removeprefix("mail-proxy ").split())
    options = re.findall(r"`(--[a-z-]+)`", row.cells[1])
    known = {option for p in found.params for option in (*p.opts, *p.secondary_opts)} if found else set()
    assert (found is not None and set(options) <= known) == row.exists


def test_a_call_of_the_client_is_there_or_said_not_to_be() -> None:
    with client.MailProxyClient("http://127.0.0.1:1") as calls:
        for row in table("Python client"):
            for name in row.names:
                assert (has(calls, name) or has(client, name)) == row.exists, name


def test_a_setting_is_there_or_said_not_to_be() -> None:
    known = {*config.VARIABLES.values(), *SYNONYMS, *CONTEXT}
    assert [name for row in table("Settings") for name in row.names if name not in known] == []


def test_a_metric_is_there_or_said_not_to_be() -> None:
    text = metrics.exposition(metrics.Snapshot(Overview(True, 0, None, 0, 0, 0, None))).decode()
    known = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    for row in table("Metrics"):
        for name in row.names:
            assert (name in known) == row.exists, name


def test_every_link_inside_the_page_leads_somewhere() -> None:
    text = PAGE.read_text()
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-")
        for head in re.findall(r"^## (.+)", text, re.M)
    }
    assert set(re.findall(r"\(#([^)]+)\)", text)) <= anchors
