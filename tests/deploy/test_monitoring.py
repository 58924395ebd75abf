"""Dashboard and alert rules name only what the service shows."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.test_metrics import FROM_THE_DATABASE, output, samples

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
METRIC = re.compile(r"\bgmp_\w+")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The series of a scrape, with what only events bring."""
    return {name for name, _ in samples(output(FROM_THE_DATABASE, tmp_path_factory.mktemp("metrics")))} | {
        "gmp_smtp_connections"
    }


def _expressions() -> Iterator[str]:
    for panel in json.loads((MONITORING / "dashboard.json").read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def test_every_metric_of_the_dashboard_exists(shown: set[str]) -> None:
    named = set(METRIC.findall("\n".join(_expressions())))
    assert named
    assert named <= shown


def test_every_metric_of_the_alert_rules_exists(shown: set[str]) -> None:
    named = set(METRIC.findall((MONITORING / "alerts.yaml").read_text()))
    assert named
    assert named <= shown


def test_the_workers_scale_by_the_one_series_that_the_rules_record() -> None:
    scaling = MONITORING.parent / "kubernetes" / "overlays" / "production" / "autoscale-workers.yaml"
    (named,) = re.findall(r'metric: \{name: "(.+)"\}', scaling.read_text())
    (expression,) = re.findall(
        rf"- record: {named}\n +expr: (.+)\n", (MONITORING / "alerts.yaml").read_text()
    )
    assert all(part.strip().startswith(("max(", "0 * max(")) for part in expression.split(" or "))


def test_the_dashboard_leaves_out_no_metric(shown: set[str]) -> None:
    named = "\n".join(_expressions())
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    assert [family for family in sorted(families) if family not in named] == []


def test_panels_have_places_of_their_own() -> None:
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
