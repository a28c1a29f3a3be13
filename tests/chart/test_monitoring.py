"""Monitoring objects appear where they are asked for and understood, and name metrics that exist."""

import json
import re
from typing import Any

import pytest

from agentsessions.metrics import REGISTRY
from chart import helm

API = "monitoring.coreos.com/v1"
FULLNAME = f"{helm.RELEASE}-agentsessions"
ALL: dict[str, Any] = {
    "metrics": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboard": {"enabled": True},
    }
}


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PrometheusRule"])
def test_monitoring_objects_need_both_the_value_and_the_kind(kind: str) -> None:
    assert not helm.of_kind(helm.template(apis=[API]), kind)
    assert not helm.of_kind(helm.template(ALL), kind)
    (made,) = helm.of_kind(helm.template(ALL, apis=[API]), kind)
    assert made["metadata"]["labels"]["release"] == "prometheus"


def test_the_service_monitor_finds_the_operators_service_and_port() -> None:
    manifests = helm.template(ALL, apis=[API])
    (monitor,) = helm.of_kind(manifests, "ServiceMonitor")
    service = helm.named(manifests, "Service", FULLNAME)
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] in [port["name"] for port in service["spec"]["ports"]]


def test_alerts_say_what_is_wrong_and_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_alerts_and_dashboard_name_metrics_that_the_operator_has() -> None:
    text = " ".join([*(rule["expr"] for rule in rules()), *dashboard_queries()])
    used = set(re.findall(r"agentsessions_\w+", text))
    assert used
    assert used <= exposed()


def test_alerts_name_outcomes_and_reasons_that_exist() -> None:
    labels = " ".join(rule["expr"] for rule in rules())
    assert set(re.findall(r'outcome="(\w+)"', labels)) == {"error"}
    assert set(re.findall(r'reason="(\w+)"', labels)) == {"ModelAuthenticationFailed"}


def test_the_dashboard_is_found_by_the_sidecar() -> None:
    made = helm.named(helm.template(ALL), "ConfigMap", f"{FULLNAME}-dashboard")
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"


def rules() -> list[dict[str, Any]]:
    """Return the alerting rules."""
    (made,) = helm.of_kind(helm.template(ALL, apis=[API]), "PrometheusRule")
    (group,) = made["spec"]["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def dashboard_queries() -> list[str]:
    """Return the queries of the dashboard's panels."""
    made = helm.named(helm.template(ALL), "ConfigMap", f"{FULLNAME}-dashboard")
    panels = json.loads(made["data"]["agentsessions.json"])["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def exposed() -> set[str]:
    """Return the names under which the operator's metrics are scraped."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    return {metric.name + suffix for metric in REGISTRY.collect() for suffix in suffixes[metric.type]}
