"""The metrics: all there, all explained, in base units, and their number bounded."""

import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from agentsessions import metrics, pool_metrics
from agentsessions.api.conditions import Reason, State, conditions_for
from agentsessions.api.status import AgentSessionStatus, Termination, Usage
from agentsessions.api.termination import ReportReason
from agentsessions.reconcile.loop import count
from unit.make import NOW, later, make_session

FAMILIES = {family.name: family for family in metrics.REGISTRY.collect()}
MODULES = vars(metrics) | vars(pool_metrics)
DEFINED = {value for value in MODULES.values() if isinstance(value, MetricWrapperBase)}
BOUNDED_LABELS = {
    "pool",
    "state",
    "outcome",
    "namespace",
    "reason",
    "kind",
    "verb",
    "resource",
    "code",
    "version",
}
UNITS = re.compile(r"_(milliseconds|ms|minutes|hours|kilobytes|mb|percent|cents)(_|$)")


def value(name: str, **labels: str) -> float:
    """Return the present value of a sample."""
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def test_every_metric_of_the_module_is_registered() -> None:
    assert len(FAMILIES) == len(DEFINED)
    assert all(isinstance(metrics.REGISTRY, CollectorRegistry) and metric._name in FAMILIES for metric in DEFINED)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_names_help_units_and_labels(name: str) -> None:
    family = FAMILIES[name]
    assert name.startswith("agentsessions_")
    assert len(family.documentation) > 10
    assert family.documentation.endswith(".")
    assert not UNITS.search(name)
    (metric,) = [m for m in DEFINED if m._name == name]
    assert set(metric._labelnames) <= BOUNDED_LABELS


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_metric_can_be_scraped_with_its_help(name: str) -> None:
    total = "_total" if FAMILIES[name].type == "counter" else ""
    assert f"# HELP {name}{total} {FAMILIES[name].documentation}" in generate_latest(metrics.REGISTRY).decode()


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.type == "histogram"])
def test_histograms_are_of_seconds(name: str) -> None:
    assert name.endswith("_seconds")


@pytest.mark.parametrize("reason", sorted({*Reason, *ReportReason} - {"Running", "Completed"}))
def test_reasons_that_are_ours_are_counted_by_name(reason: str) -> None:
    before = value("agentsessions_attempts_failed_total", reason=reason)
    metrics.attempt_failed(reason)
    assert value("agentsessions_attempts_failed_total", reason=reason) == before + 1


def test_reasons_that_an_image_invents_are_one() -> None:
    before = value("agentsessions_attempts_failed_total", reason="Other")
    metrics.attempt_failed("Invented1")
    metrics.attempt_failed("Invented2")
    assert value("agentsessions_attempts_failed_total", reason="Other") == before + 2
    assert value("agentsessions_attempts_failed_total", reason="Invented1") == 0


USAGE = Usage(turns=2, input_tokens=3, output_tokens=5, cache_read_tokens=7, cache_creation_tokens=11, cost_usd="0.25")


def status(state: State, **fields: object) -> AgentSessionStatus:
    """Return a status in a state."""
    row = conditions_for(state, "Because", "", previous=[], generation=1, now=NOW)
    return AgentSessionStatus(conditions=row, **fields)  # type: ignore[arg-type]


def test_a_session_that_finishes_is_counted_once() -> None:
    session = make_session().with_meta(namespace="metrics-test").with_status(status(State.RUNNING)).build()
    end = status(State.SUCCEEDED, completion_time=later(20), usage=USAGE)
    finished = make_session().with_meta(namespace="metrics-test").with_status(end).build()
    before = value("agentsessions_session_duration_seconds_count", outcome="succeeded")
    count(session, end, later(20))
    count(finished, end, later(30))
    assert value("agentsessions_session_duration_seconds_count", outcome="succeeded") == before + 1
    assert value("agentsessions_turns_total", namespace="metrics-test") == 2
    assert value("agentsessions_cost_dollars_total", namespace="metrics-test") == 0.25
    kinds = {
        kind: value("agentsessions_tokens_total", namespace="metrics-test", kind=kind)
        for kind in ("input", "output", "cache_read", "cache_creation")
    }
    assert kinds == {"input": 3, "output": 5, "cache_read": 7, "cache_creation": 11}


def test_a_session_that_fails_is_counted_as_that_also_without_usage() -> None:
    before = value("agentsessions_session_duration_seconds_count", outcome="failed")
    count(make_session().build(), status(State.FAILED, completion_time=NOW), NOW)
    assert value("agentsessions_session_duration_seconds_count", outcome="failed") == before + 1


def test_the_time_to_the_first_start_is_measured_once() -> None:
    name = "agentsessions_session_start_duration_seconds"
    before, total = value(f"{name}_count"), value(f"{name}_sum")
    run = status(State.RUNNING, start_time=later(3))
    count(make_session().build(), run, later(4))
    count(make_session().with_status(start_time=later(3)).build(), run, later(9))
    assert (value(f"{name}_count") - before, value(f"{name}_sum") - total) == (1, 4)


def test_a_failed_attempt_is_counted_once() -> None:
    last = Termination(reason="Evicted", pod="p", pod_uid="u")
    after = status(State.PROGRESSING, last_termination=last)
    before = value("agentsessions_attempts_failed_total", reason="Evicted")
    count(make_session().build(), after, NOW)
    count(make_session().with_status(after).build(), after, NOW)
    assert value("agentsessions_attempts_failed_total", reason="Evicted") == before + 1
