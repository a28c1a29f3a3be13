"""The NetworkPolicies of the release let through what they must and nothing besides."""

from typing import Any

import pytest

from chart import helm

FULLNAME = f"{helm.RELEASE}-agentsessions"
AGENTS = {"app.kubernetes.io/managed-by": "agentsessions"}
DNS_PORTS = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]


def policy(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of one policy."""
    spec: dict[str, Any] = helm.named(helm.template(values), "NetworkPolicy", name)["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    return spec


def ports(rule: dict[str, Any]) -> list[int]:
    """Return the ports of one rule."""
    return [entry["port"] for entry in rule["ports"]]


def test_the_operator_is_reached_for_metrics_only_and_reaches_dns_and_the_api_server_only() -> None:
    spec = policy(FULLNAME, {})
    assert [ports(rule) for rule in spec["ingress"]] == [[8080]]
    dns, api = spec["egress"]
    assert dns["ports"] == DNS_PORTS
    assert ports(api) == [443, 6443]


def test_the_api_server_can_be_pinned_to_its_addresses() -> None:
    values = {"networkPolicy": {"apiServer": {"cidrs": ["10.0.0.1/32"], "ports": [7443]}}}
    _, api = policy(FULLNAME, values)["egress"]
    assert api == {"ports": [{"protocol": "TCP", "port": 7443}], "to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}]}


def test_dns_follows_the_values() -> None:
    values = {"dns": {"namespace": "dns", "podLabels": {"k8s-app": None, "app": "dns"}, "cidrs": ["169.254.20.10/32"]}}
    dns, _ = policy(FULLNAME, values)["egress"]
    pods, cache = dns["to"]
    assert pods["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "dns"}
    assert pods["podSelector"]["matchLabels"] == {"app": "dns"}
    assert cache == {"ipBlock": {"cidr": "169.254.20.10/32"}}


@pytest.mark.requirement("H24")
def test_only_agent_pods_reach_the_proxy() -> None:
    agents, status = policy(f"{FULLNAME}-egress", helm.with_egress())["ingress"]
    assert ports(agents) == [8080]
    assert agents["from"] == [{"podSelector": {"matchLabels": AGENTS}, "namespaceSelector": {}}]
    assert ports(status) == [8081]
    assert [set(peer) for peer in status["from"]] == [{"podSelector"}], "the test pod of the same namespace"


def test_only_agents_of_watched_namespaces_reach_the_proxy() -> None:
    values = helm.with_egress() | {"watchNamespaces": ["team-a"]}
    agents, _ = policy(f"{FULLNAME}-egress", values)["ingress"]
    (peer,) = agents["from"]
    (expression,) = peer["namespaceSelector"]["matchExpressions"]
    assert (expression["operator"], expression["values"]) == ("In", ["team-a"])


@pytest.mark.requirement("H24")
def test_the_proxy_reaches_dns_and_the_model_port_but_no_metadata_service() -> None:
    values = helm.with_egress(upstream={"port": 8443})
    dns, model = policy(f"{FULLNAME}-egress", values)["egress"]
    assert dns["ports"] == DNS_PORTS
    assert ports(model) == [8443]
    assert "169.254.0.0/16" in model["to"][0]["ipBlock"]["except"]


def test_the_way_to_the_model_can_be_narrowed() -> None:
    rule = {"to": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": 8080}]}
    values = helm.with_egress(networkPolicy={"upstreamRules": [rule]})
    _, model = policy(f"{FULLNAME}-egress", values)["egress"]
    assert model == rule
