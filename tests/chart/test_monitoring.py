"""Monitoring objects appear where they are asked for and understood, and name metrics that exist."""

import json
import re
from typing import Any

import pytest
from prometheus_client.samples import Sample

from agentsessions import pool_metrics
from agentsessions.api.pool import AgentPoolStatus
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
    (found,) = re.findall(r'outcome=~"([\w|]+)"', labels)
    told = {sample.labels["outcome"] for sample in samples("agentsessions_resumes")}
    assert set(found.split("|")) == told - {"TranscriptFound"}


def test_alerts_and_dashboard_name_states_of_hosts_that_are_told() -> None:
    text = " ".join([*(rule["expr"] for rule in rules()), *dashboard_queries()])
    pool_metrics.seen("team-a", "chat", AgentPoolStatus())
    told = {sample.labels["state"] for sample in samples("agentsessions_pool_hosts")}
    pool_metrics.gone("team-a", "chat")
    assert set(re.findall(r'state="(\w+)"', text)) == told - {"updated"}


def test_alerts_ask_this_releases_operator_only() -> None:
    for rule in rules():
        asked = re.findall(r"(?:agentsessions_\w+|up)\{([^}]*)\}", rule["expr"])
        assert len(asked) == len(re.findall(r"agentsessions_\w+|\bup\b", rule["expr"]))
        assert all(one.startswith(f'namespace="{helm.NAMESPACE}", job="{FULLNAME}"') for one in asked), rule["alert"]


def test_a_pool_has_an_alert_for_no_host_and_one_for_hardly_any_room() -> None:
    found = {rule["alert"]: rule for rule in rules() if rule["alert"].startswith("AgentPool")}
    assert {name: (rule["for"], rule["labels"]["severity"]) for name, rule in found.items()} == {
        "AgentPoolWithoutHost": ("5m", "critical"),
        "AgentPoolNearlyFull": ("15m", "warning"),
    }
    for rule in found.values():
        assert "{{ $labels.exported_namespace }}/{{ $labels.pool }}" in rule["annotations"]["summary"]


def test_sessions_that_sleep_have_alerts_for_what_could_cost_a_conversation_or_a_wait() -> None:
    found = {rule["alert"]: (rule.get("for"), rule["labels"]["severity"]) for rule in rules()}
    wanted = {
        "AgentSessionsTranscriptNotDurable": ("5m", "critical"),
        "AgentSessionsConversationsNotWhole": (None, "critical"),
        "AgentSessionsWakesSlow": ("15m", "warning"),
        "AgentSessionsWakeStuck": (None, "warning"),
        "AgentSessionsStoreRepairs": (None, "warning"),
    }
    assert wanted.items() <= found.items()


def test_the_line_has_alerts_for_a_long_wait_and_for_one_that_does_not_move() -> None:
    found = {rule["alert"]: rule for rule in rules() if rule["alert"].startswith("AgentSessionsQueue")}
    assert {name: rule["for"] for name, rule in found.items()} == {
        "AgentSessionsQueuedLong": "5m",
        "AgentSessionsQueueStuck": "15m",
    }
    assert found["AgentSessionsQueuedLong"]["expr"].endswith("> 1800")
    rule = {"prometheusRule": {"enabled": True, "longQueueSeconds": 60}}
    (made,) = helm.of_kind(helm.template({"metrics": rule}, apis=[API]), "PrometheusRule")
    (long,) = [one for one in made["spec"]["groups"][0]["rules"] if one["alert"] == "AgentSessionsQueuedLong"]
    assert long["expr"].endswith("> 60")
    assert "more than 60 seconds" in long["annotations"]["description"]


def test_how_slow_a_wake_may_be_is_the_users_choice() -> None:
    for chosen, text in (({}, "30"), ({"slowWakeSeconds": 7}, "7")):
        rule = {"prometheusRule": {"enabled": True, **chosen}}
        (made,) = helm.of_kind(helm.template({"metrics": rule}, apis=[API]), "PrometheusRule")
        (slow,) = [one for one in made["spec"]["groups"][0]["rules"] if one["alert"] == "AgentSessionsWakesSlow"]
        assert slow["expr"].endswith(f"> {text}")
        assert f"more than {text} seconds" in slow["annotations"]["description"]


def test_panels_that_speak_of_an_alert_name_one_that_there_is() -> None:
    named = set(re.findall(r"(Agent\w+) fires", " ".join(panel["description"] for panel in dashboard()["panels"])))
    assert {"AgentPoolNearlyFull", "AgentSessionsWakesSlow"} <= named <= {rule["alert"] for rule in rules()}


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24, "Grafana's grid is 24 wide"


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
    return [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    made = helm.named(helm.template(ALL), "ConfigMap", f"{FULLNAME}-dashboard")
    found: dict[str, Any] = json.loads(made["data"]["agentsessions.json"])
    return found


def samples(name: str) -> list[Sample]:
    """Return what a scrape of a metric would give now."""
    return [sample for metric in REGISTRY.collect() if metric.name == name for sample in metric.samples]


def exposed() -> set[str]:
    """Return the names under which the operator's metrics are scraped."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    return {metric.name + suffix for metric in REGISTRY.collect() for suffix in suffixes[metric.type]}
