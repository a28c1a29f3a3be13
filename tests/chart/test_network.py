"""The NetworkPolicies of the release let through what they must and nothing besides."""

from typing import Any

import pytest

from chart import helm

FULLNAME = f"{helm.RELEASE}-agentsessions"
AGENTS = {"app.kubernetes.io/managed-by": "agentsessions"}
GATEWAY = f"{FULLNAME}-gateway"
TEST_POD = {
    "podSelector": {
        "matchLabels": {
            "app.kubernetes.io/name": "agentsessions",
            "app.kubernetes.io/instance": helm.RELEASE,
            "app.kubernetes.io/component": "test",
        }
    }
}
DNS_PORTS = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]


def policy(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of one policy."""
    spec: dict[str, Any] = helm.named(helm.template(values), "NetworkPolicy", name)["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    return spec


def ports(rule: dict[str, Any]) -> list[int]:
    """Return the ports of one rule."""
    return [entry["port"] for entry in rule["ports"]]


def to_agents(namespaces: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the rule that opens nothing but the HTTP port of agents, in all namespaces unless some are meant."""
    peer = {"podSelector": {"matchLabels": AGENTS}, "namespaceSelector": namespaces or {}}
    return {"to": [peer], "ports": [{"protocol": "TCP", "port": 8000}]}


def test_the_operator_is_reached_for_metrics_only_and_reaches_dns_agents_and_the_api_server_only() -> None:
    spec = policy(FULLNAME, {})
    assert [ports(rule) for rule in spec["ingress"]] == [[8080]]
    dns, agents, api = spec["egress"]
    assert dns["ports"] == DNS_PORTS
    assert agents == to_agents()
    assert ports(api) == [443, 6443]


def test_the_api_server_can_be_pinned_to_its_addresses() -> None:
    values = {"networkPolicy": {"apiServer": {"cidrs": ["10.0.0.1/32"], "ports": [7443]}}}
    for name in (FULLNAME, GATEWAY):
        *_, api = policy(name, values)["egress"]
        assert api == {"ports": [{"protocol": "TCP", "port": 7443}], "to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}]}


def test_dns_follows_the_values() -> None:
    values = {"dns": {"namespace": "dns", "podLabels": {"k8s-app": None, "app": "dns"}, "cidrs": ["169.254.20.10/32"]}}
    for name in (FULLNAME, GATEWAY):
        dns, *_ = policy(name, values)["egress"]
        pods, cache = dns["to"]
        assert pods["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "dns"}
        assert pods["podSelector"]["matchLabels"] == {"app": "dns"}
        assert cache == {"ipBlock": {"cidr": "169.254.20.10/32"}}


@pytest.mark.parametrize("name", [FULLNAME, GATEWAY])
def test_agents_of_watched_namespaces_only_are_reached(name: str) -> None:
    _, agents, _ = policy(name, {"watchNamespaces": ["team-a", "team-b"]})["egress"]
    named = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["team-a", "team-b"]}
    assert agents == to_agents({"matchExpressions": [named]})


def test_a_policy_selects_the_pods_that_it_is_about() -> None:
    manifests = helm.template(helm.with_egress() | {"embeddedStore": {"enabled": True}})
    makers = [*helm.of_kind(manifests, "Deployment"), *helm.of_kind(manifests, "StatefulSet")]
    selectors = {maker["metadata"]["name"]: maker["spec"]["selector"] for maker in makers}
    for made in helm.of_kind(manifests, "NetworkPolicy"):
        assert made["spec"]["podSelector"] == selectors[made["metadata"]["name"]]


@pytest.mark.requirement("H24")
def test_the_gateway_is_open_to_clients_and_reaches_dns_agents_and_the_api_server_only() -> None:
    spec = policy(GATEWAY, {})
    clients, status = spec["ingress"]
    assert clients == {"ports": [{"protocol": "TCP", "port": 8080}]}
    assert ports(status) == [8081, 9001]
    assert status["from"] == [TEST_POD], "metrics are not for clients"
    dns, agents, api = spec["egress"]
    assert dns["ports"] == DNS_PORTS
    assert agents == to_agents()
    assert ports(api) == [443, 6443]


def test_the_clients_of_the_gateway_can_be_narrowed_and_helm_test_still_gets_in() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"team": "web"}}}
    clients, _ = policy(GATEWAY, {"gateway": {"networkPolicy": {"clients": [peer]}}})["ingress"]
    assert clients["from"] == [TEST_POD, peer]


def test_prometheus_is_let_in_to_the_gateways_metrics_by_name() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}
    clients, status = policy(GATEWAY, {"gateway": {"networkPolicy": {"metricsFrom": [peer]}}})["ingress"]
    assert "from" not in clients
    assert status["from"] == [TEST_POD, peer]


@pytest.mark.parametrize(
    ("uri", "port"),
    [("https://id.example.com/keys", 443), ("http://id.example.com/keys", 80), ("https://id.example.com:8443/k", 8443)],
)
def test_with_oidc_the_gateway_reaches_the_providers_port_but_no_metadata_service(uri: str, port: int) -> None:
    values = {"gateway": {"oidc": {"enabled": True, "issuer": "https://id.example.com", "jwksUri": uri}}}
    *_, keys = policy(GATEWAY, values)["egress"]
    assert ports(keys) == [port]
    assert {"169.254.0.0/16"} <= {block for peer in keys["to"] for block in peer["ipBlock"]["except"]}


def test_further_ways_out_of_the_gateway_are_added() -> None:
    rule = {"to": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": 5556}]}
    *others, last = policy(GATEWAY, {"gateway": {"networkPolicy": {"extraEgress": [rule]}}})["egress"]
    assert (len(others), last) == (3, rule)


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
