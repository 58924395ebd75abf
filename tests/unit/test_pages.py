"""The pages that are written from the code leave nothing out, and a site's broken links are found."""

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from docs.generate import FOLDER
from docs.site import check
from mailproxy import metrics
from mailproxy.api.app import ROUTES
from mailproxy.api.codes import ERRORS, REJECTIONS
from mailproxy.cli import reference
from mailproxy.cli.main import cli, instance_group, tenant_group
from mailproxy.config import VARIABLES
from mailproxy.model import EventDetail, EventType, State


def test_every_setting_has_its_line() -> None:
    page = (FOLDER / "settings.md").read_text()
    assert sorted(re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE)) == sorted(VARIABLES.values())


def test_every_metric_that_is_counted_has_its_line() -> None:
    page = (FOLDER / "metrics.md").read_text()
    families = text_string_to_metric_families(metrics.exposition(None).decode())
    names = {f"{one.name}_total" if one.type == "counter" else one.name for one in families}
    assert names
    assert [name for name in sorted(names) if f"| `{name}` |" not in page] == []


def test_every_label_of_a_metric_has_its_values() -> None:
    shown, _, told = (FOLDER / "metrics.md").read_text().partition("## Values of labels")
    rows = re.findall(r"^\| `gmp_\w+` \|[^|]*\|([^|]*)\|", shown, re.MULTILINE)
    labels = set(re.findall(r"`(\w+)`", "".join(rows)))
    first_cells = re.findall(r"^\| (`.*?) \|", told, re.MULTILINE)
    assert labels == set(re.findall(r"`(\w+)`", "".join(first_cells)))


def test_every_event_state_and_field_has_its_line() -> None:
    page = (FOLDER / "events.md").read_text()
    for name in (*EventType, *State, *EventDetail.__dataclass_fields__):
        assert f"| `{name}` |" in page
    for kind in EventType:
        assert page.count(f'"event_type": "{kind}"') == 2


def test_every_route_and_error_has_its_place() -> None:
    page = (FOLDER / "rest.md").read_text()
    for route in ROUTES:
        assert f"### `{route.method} {route.template}`" in page
    for code in (*ERRORS, *REJECTIONS):
        assert f"| `{code}` |" in page


def test_every_command_has_its_place() -> None:
    page = (FOLDER / "cli.md").read_text()
    trees = ((["mail-proxy"], cli), (["mail-proxy", "NAME"], instance_group))
    for words, group in (*trees, (["mail-proxy", "NAME", "TENANT"], tenant_group)):
        for found, _ in reference.commands(list(words), group):
            assert f"\n### {' '.join(found[1:])}\n" in page


def test_a_site_with_a_link_to_nowhere_or_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<script src="https://cdn.example/x.js"></script><a href="b.html#there">1</a><a href="b.html#no">2</a>'
        '<a href="c.html">3</a><a href="https://example.com/">4</a>'
    )
    (tmp_path / "b.html").write_text('<p id="there">')
    assert sorted(fault.partition(": ")[2] for fault in check.faults(tmp_path)) == [
        "b.html#no: the page has no such place",
        "c.html: there is no such file",
        "https://cdn.example/x.js: is fetched from elsewhere",
    ]
