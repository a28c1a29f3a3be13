"""The NetworkPolicy of agent pods: in only gateway and operator; out only DNS, the model endpoint, what is declared.

Policies with equal content are one object, named by its hash: a thousand sessions of one template share one.
"""

from collections.abc import Sequence

from agentsessions.api.base import Json
from agentsessions.api.config import Dns, Gateway, OperatorConfig
from agentsessions.api.host import PORT
from agentsessions.api.names import (
    LABEL_MANAGED_BY,
    LABEL_NETWORK_POLICY,
    MANAGED_BY,
    common_labels,
    digest,
    network_policy_name,
)
from agentsessions.api.storage import EgressPeer
from agentsessions.builders.storage import storage_peers
from agentsessions.policies.resolve import Settings

_NAMESPACE_LABEL = "kubernetes.io/metadata.name"


def network_policy(namespace: str, settings: Settings, config: OperatorConfig, *, hosts: bool = False) -> Json:
    """Return the policy for pods with these settings in this namespace; `hosts` hold sessions for the operator."""
    egress, ingress = _egress(settings, config), _ingress(config.gateway, hosts=hosts)
    content = _content(ingress, egress)
    key = digest(content)
    labels = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_NETWORK_POLICY: key}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": network_policy_name(key),
            "namespace": namespace,
            "labels": common_labels("network-policy") | {LABEL_NETWORK_POLICY: key},
        },
        "spec": {
            "podSelector": {"matchLabels": labels},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    }


def policy_label(policy: Json) -> str:
    """Return the label value by which a pod comes under the policy."""
    return str(policy["metadata"]["labels"][LABEL_NETWORK_POLICY])


def _content(ingress: list[Json], egress: list[Json]) -> object:
    """Return what the name stands for: the egress alone where nothing comes in, as in releases without a gateway."""
    return {"ingress": ingress, "egress": egress} if ingress else egress


def _ingress(gateway: Gateway, *, hosts: bool) -> list[Json]:
    """Return who may call the pods: the operator and the gateway if there is one; else the operator, and hosts only."""
    callers = [gateway.operator_labels] if hosts or gateway.enabled else []
    if gateway.enabled:
        callers.append(gateway.pod_labels)
    peers = [_pods(gateway.namespace, labels) for labels in callers]
    return [{"from": peers, "ports": [{"protocol": "TCP", "port": PORT}]}] if peers else []


def _egress(settings: Settings, config: OperatorConfig) -> list[Json]:
    """Return the egress rules in a fixed order."""
    fields = settings.fields
    peers: list[EgressPeer] = []
    if fields.model_endpoint and fields.model_endpoint.egress:
        peers += fields.model_endpoint.egress
    if fields.network_policy and fields.network_policy.egress:
        peers += fields.network_policy.egress
    peers += storage_peers(settings, config.embedded_store)
    return [_dns_rule(config.dns), *_peer_rules(peers)]


def _dns_rule(dns: Dns) -> Json:
    """Let DNS through to the cluster's resolvers only."""
    blocks = [{"ipBlock": {"cidr": cidr}} for cidr in sorted(dns.cidrs)]
    ports = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    return {"to": [_pods(dns.namespace, dns.pod_labels), *blocks], "ports": ports}


def _peer_rules(peers: Sequence[EgressPeer]) -> list[Json]:
    """Return one rule per destination, each once."""
    rules = {digest(rule): rule for rule in map(_peer_rule, peers)}
    return [rules[key] for key in sorted(rules)]


def _peer_rule(peer: EgressPeer) -> Json:
    """Return the rule of one destination."""
    return {"to": [_destination(peer)], "ports": [{"protocol": "TCP", "port": peer.port}]}


def _destination(peer: EgressPeer) -> Json:
    """Return the peer in NetworkPolicy's words."""
    if peer.cidr:
        return {"ipBlock": {"cidr": peer.cidr}}
    out: Json = {}
    if peer.namespace:
        out["namespaceSelector"] = {"matchLabels": {_NAMESPACE_LABEL: peer.namespace}}
    if peer.pod_labels or not peer.namespace:
        out["podSelector"] = _selector(peer.pod_labels or {})
    return out


def _pods(namespace: str, labels: dict[str, str]) -> Json:
    """Return the peer that is these pods of another namespace."""
    return {
        "namespaceSelector": {"matchLabels": {_NAMESPACE_LABEL: namespace}},
        "podSelector": _selector(labels),
    }


def _selector(labels: dict[str, str]) -> Json:
    """Return the selector of pods with these labels, in the form in which the API server gives it back."""
    return {"matchLabels": dict(sorted(labels.items()))} if labels else {}
