"""The shared NetworkPolicy: whole, closed by default, one per need."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsessions.api.base import Json
from agentsessions.api.config import Dns, Gateway, OperatorConfig
from agentsessions.api.template import TemplateFields
from agentsessions.builders.networkpolicy import network_policy, policy_label
from agentsessions.policies.resolve import Settings
from unit.make import make_settings
from unit.strategies import PEERS, TEMPLATES

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
DNS_RULE = {
    "to": [
        {
            "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
    ],
    "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
}


def policy(namespace: str = "team-a", dns: Dns | None = None, **template: object) -> Json:
    """Return the policy of a template."""
    return network_policy(namespace, make_settings(**template), OperatorConfig(dns=dns or Dns()))


def called(*, hosts: bool = False, **gateway: object) -> Json:
    """Return the policy of pods under a gateway that is configured so."""
    config = OperatorConfig(gateway=Gateway.model_validate(gateway))
    return network_policy("team-a", make_settings(), config, hosts=hosts)


def callers(policy: Json) -> list[Json]:
    """Return who may call on the port of sessions; nothing else may be open."""
    (rule,) = policy["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8000}]
    return list(rule["from"])


def component(name: str, namespace: str = "agentsessions-system") -> Json:
    """Return the peer that is a component of ours."""
    return {
        "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: namespace}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/component": name}},
    }


def rules(*peers: Json) -> list[Json]:
    """Return the egress rules beside DNS."""
    dns, *others = policy(network_policy={"egress": list(peers)})["spec"]["egress"]
    assert dns == DNS_RULE
    return others


def test_the_whole_policy_of_the_smallest_session() -> None:
    found = policy()
    key = policy_label(found)
    assert found == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": f"agentsessions-{key}",
            "namespace": "team-a",
            "labels": {
                "app.kubernetes.io/managed-by": "agentsessions",
                "app.kubernetes.io/name": "agentsession",
                "app.kubernetes.io/component": "network-policy",
                "agentsessions.dev/network-policy": key,
            },
        },
        "spec": {
            "podSelector": {
                "matchLabels": {
                    "app.kubernetes.io/managed-by": "agentsessions",
                    "agentsessions.dev/network-policy": key,
                }
            },
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [],
            "egress": [DNS_RULE],
        },
    }


@pytest.mark.parametrize(
    ("peer", "to"),
    [
        pytest.param({"cidr": "10.0.0.0/8", "port": 443}, {"ipBlock": {"cidr": "10.0.0.0/8"}}, id="addresses"),
        pytest.param(
            {"namespace": "proxy", "port": 443},
            {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: "proxy"}}},
            id="a-whole-namespace",
        ),
        pytest.param(
            {"namespace": "proxy", "podLabels": {"app": "p"}, "port": 443},
            {
                "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: "proxy"}},
                "podSelector": {"matchLabels": {"app": "p"}},
            },
            id="pods-of-a-namespace",
        ),
        pytest.param(
            {"podLabels": {"app": "p"}, "port": 443},
            {"podSelector": {"matchLabels": {"app": "p"}}},
            id="pods-of-the-sessions-own-namespace",
        ),
        pytest.param({"podLabels": {}, "port": 443}, {"podSelector": {}}, id="all-pods-of-the-own-namespace"),
    ],
)
def test_destinations(peer: Json, to: Json) -> None:
    assert rules(peer) == [{"to": [to], "ports": [{"protocol": "TCP", "port": 443}]}]


def test_further_resolvers() -> None:
    found = policy(dns=Dns(cidrs=["169.254.20.10/32"]))["spec"]["egress"][0]["to"]
    assert found == [*DNS_RULE["to"], {"ipBlock": {"cidr": "169.254.20.10/32"}}]


def test_dns_pods_without_labels_are_all_pods_there() -> None:
    (peer,) = policy(dns=Dns(pod_labels={}))["spec"]["egress"][0]["to"]
    assert peer["podSelector"] == {}


@given(st.lists(PEERS, max_size=4), st.lists(PEERS, max_size=4), st.randoms())
def test_equal_needs_share_one_policy_however_they_are_said(one: list[Json], two: list[Json], random: object) -> None:
    turned = [*one, *two]
    random.shuffle(turned)  # type: ignore[attr-defined]
    first = policy(model_endpoint={"baseUrl": "http://m", "egress": one}, network_policy={"egress": two})
    second = policy(network_policy={"egress": [*turned, *turned]}, image="other", agent={"model": "opus"})
    assert first == second


@given(st.lists(PEERS, max_size=3), st.lists(PEERS, max_size=3))
def test_unequal_needs_do_not(one: list[Json], two: list[Json]) -> None:
    first, second = policy(network_policy={"egress": one}), policy(network_policy={"egress": two})
    same_name = first["metadata"]["name"] == second["metadata"]["name"]
    assert same_name == (first["spec"]["egress"] == second["spec"]["egress"])


@given(TEMPLATES)
def test_every_policy_is_closed_but_for_what_is_declared(template: TemplateFields) -> None:
    settings = Settings(template, None, "")
    spec = network_policy("n", settings, OperatorConfig())["spec"]
    declared = [
        *((template.model_endpoint.egress if template.model_endpoint else None) or []),
        *((template.network_policy.egress if template.network_policy else None) or []),
    ]
    assert spec["ingress"] == []
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert len(spec["egress"]) <= 1 + len(declared)
    assert all(rule["to"] and rule["ports"] for rule in spec["egress"])


def test_the_policy_selects_the_pods_that_carry_its_label() -> None:
    found = policy()
    assert found["spec"]["podSelector"]["matchLabels"]["agentsessions.dev/network-policy"] == policy_label(found)


@pytest.mark.requirement("H10", "H25")
def test_with_a_gateway_it_and_the_operator_come_in() -> None:
    found = called(enabled=True, namespace="elsewhere")
    assert callers(found) == [component("operator", "elsewhere"), component("gateway", "elsewhere")]


def test_the_labels_of_gateway_and_operator_are_the_configured_ones() -> None:
    found = called(enabled=True, podLabels={"b": "2", "a": "1"}, operatorLabels={"c": "3"})
    assert [peer["podSelector"]["matchLabels"] for peer in callers(found)] == [{"c": "3"}, {"a": "1", "b": "2"}]


def test_hosts_let_the_operator_in_without_a_gateway() -> None:
    assert callers(called(hosts=True)) == [component("operator")]


def test_hosts_and_pods_of_one_session_share_the_policy_of_a_gateway() -> None:
    assert called(hosts=True, enabled=True) == called(enabled=True)


def test_every_way_in_is_a_policy_of_its_own() -> None:
    found = [
        called(),
        called(hosts=True),
        called(enabled=True),
        called(enabled=True, namespace="elsewhere"),
        called(enabled=True, podLabels={"a": "1"}),
    ]
    assert len({policy["metadata"]["name"] for policy in found}) == len(found)
    assert len({policy_label(policy) for policy in found}) == len(found)


def test_without_a_gateway_policies_keep_the_names_they_had_before_there_was_one() -> None:
    assert called()["metadata"]["name"] == called(namespace="elsewhere")["metadata"]["name"]
    assert called()["metadata"]["name"] == "agentsessions-6c6c1fb3b9"
