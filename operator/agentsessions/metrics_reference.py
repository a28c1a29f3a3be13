"""The list of metrics as Markdown, made from the metrics themselves. `make docs` writes it to docs/metrics.md."""

from prometheus_client.metrics import MetricWrapperBase

from agentsessions import metrics, pool_metrics
from agentsessions.api.reference import NOTICE

_INTRODUCTION = """\
The operator serves these at `/metrics` on port 8080. Seconds are seconds of wall-clock time; dollars are US dollars by
the SDK's price list. No label carries a session's name: what one session used is in its `status.usage`."""


def metrics_reference() -> str:
    """Return the reference of all metrics of the operator."""
    found = [*vars(metrics).values(), *vars(pool_metrics).values()]
    rows = [_row(metric) for metric in found if isinstance(metric, MetricWrapperBase)]
    table = "\n".join(["| Metric | Type | Labels | Meaning |", "|---|---|---|---|", *sorted(rows)])
    return "\n\n".join([NOTICE, "# Metrics", _INTRODUCTION, table]) + "\n"


def _row(metric: MetricWrapperBase) -> str:
    """Return one metric's row; the library offers no public way to ask for label names."""
    (family,) = metric.describe()
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = ", ".join(f"`{label}`" for label in metric._labelnames) or "none"
    return f"| `{name}` | {family.type} | {labels} | {family.documentation} |"
