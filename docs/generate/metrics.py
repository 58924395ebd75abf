"""metrics.md: every metric with its labels, from where they are declared."""

from collections.abc import Iterator

from prometheus_client import Metric

from docs.generate.markdown import NOTE, code, table
from mailproxy import metrics
from mailproxy.figures import AccountGauge, Overview, ProcessView, QueueDepth
from mailproxy.model import AccountCondition, Epoch, Priority

_HEAD = f"""\
# Metrics

{NOTE.format("`mailproxy/metrics.py`")}
`GET /metrics` answers in Prometheus' text format; with `GMP_METRICS_TOKEN` set it asks for this token. Scrape every
node by itself. Counters and histograms are a node's own: add them up. Gauges marked *database* are the same on all
nodes: take the `max`. `GMP_METRICS_TENANT_LABEL=false` leaves the label `tenant_id` out.

A histogram has the series `_bucket` (with the label `le`), `_sum` and `_count`. Times are seconds.

[A dashboard and alert rules](../deploy/README.md#monitoring) lie in `deploy/monitoring/`.

"""
_VALUES = """\
## Values of labels

| label | values |
|---|---|
| `tenant_id`, `account_id` | as the API names them |
| `priority` | `immediate`, `high`, `medium`, `low` |
| `outcome` | `sent`, `deferred`, `refused`, `unknown`, `account_trouble`, `withheld` |
| `result` | `acknowledged`, `refused`, `failed`; of large files `stored`, `failed`, `downloaded`, `removed` |
| `type` | [what a mail that came back was](bounces.md#what-is-applied); of certified mail the [event](events.md) |
| `mode` | where an [attachment](attachments.md) was fetched from: `endpoint`, `http_url`, `filesystem` |
| `method`, `status` | the request's method and the answer's status |
| `route` | the pattern of a [route](rest.md), such as `/messages/{id}` |
| `role` | a program: `api`, `scout`, `sender`, `reporter`, `imap`, `maintenance` |
| `node` | the node's id |
"""


def text() -> str:
    """The page."""
    rows = sorted([*_counted(), *_read()])
    return _HEAD + table(("metric", "kind", "labels", "what it says"), rows) + _VALUES


def _counted() -> Iterator[tuple[str, ...]]:
    declared = metrics._Declared(tenant_label=True)
    for one in declared.registry._collector_to_names:
        (family,) = one.describe()
        yield _row(family, one._labelnames, family.type)


def _read() -> Iterator[tuple[str, ...]]:
    """Those of the database, shown by a sample of it."""
    snapshot = metrics.Snapshot(
        Overview(True, 1, 1.0, 1, 1, 1, 1.0),
        [QueueDepth("t", "a", Priority.HIGH, 1, 1.0)],
        [AccountGauge("t", "a", AccountCondition.OK, 1)],
        [ProcessView(Epoch(1), "n-1", "n", "sender", 0.0, 0.0)],
    )
    for family in metrics._from_database(snapshot):
        yield _row(family, tuple(family.samples[0].labels), "gauge, database")


def _row(family: Metric, labels: tuple[str, ...], kind: str) -> tuple[str, ...]:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return code(name), kind, ", ".join(map(code, labels)) or "–", family.documentation
