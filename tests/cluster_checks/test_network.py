"""Pods talk across nodes and through Services; NetworkPolicy takes that away and gives it back, by label."""

from typing import Any

import pytest

from cluster_checks.bench import PORT, SERVE, Bench, eventually, pod

DENY = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"name": "web"}, "ports": [{"port": 80, "targetPort": PORT}]},
}


def policy(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A NetworkPolicy."""
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec}


ALLOW = (
    policy(
        "to-web",
        {
            "podSelector": {"matchLabels": {"name": "web"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"role": "good"}}}], "ports": [{"port": PORT}]}],
        },
    ),
    policy(
        "from-good",
        {
            "podSelector": {"matchLabels": {"role": "good"}},
            "policyTypes": ["Egress"],
            "egress": [{"to": [{"podSelector": {"matchLabels": {"name": "web"}}}], "ports": [{"port": PORT}]}],
        },
    ),
)


@pytest.fixture
def world(bench: Bench) -> Bench:
    """A server on each node, a good client on the first and a bad one on the second."""
    first, second = bench.nodes[:2]
    bench.apply(
        SERVICE,
        pod("web", first, SERVE),
        pod("other", second, SERVE),
        pod("good", first, labels={"role": "good"}),
        pod("bad", second, labels={"role": "bad"}),
    )
    bench.ready("web", "other", "good", "bad")
    return bench


def expect(bench: Bench, wanted: dict[tuple[str, str], bool]) -> None:
    """Wait until each (client, host[:port]) is open or shut as wanted, then see that all of it is so at once."""

    def seen() -> dict[tuple[str, str], bool]:
        return {(client, host): bench.reaches(client, *split(host)) for client, host in wanted}

    eventually("reachability", lambda: seen() == wanted, lambda: f"wanted {wanted}, seen {seen()}")
    assert seen() == wanted


def split(host: str) -> tuple[str, int]:
    """Host and port; the servers' port when none is named."""
    name, _, port = host.partition(":")
    return name, int(port or PORT)


@pytest.mark.requirement("H20")
def test_policy_is_enforced_and_lifted(world: Bench) -> None:
    web, other = world.address("web"), world.address("other")
    name, api = f"web.{world.namespace}.svc.cluster.local:80", "kubernetes.default.svc.cluster.local:443"
    api_address = world.field("service", "kubernetes", "{.spec.clusterIP}", "default") + ":443"
    every = {("good", web): True, ("bad", web): True, ("good", other): True, ("good", name): True, ("good", api): True}
    expect(world, every)

    world.apply(policy("deny", DENY))
    expect(world, {**dict.fromkeys(every, False), ("good", api_address): False})

    world.apply(*ALLOW)
    expect(world, {("good", web): True, ("bad", web): False, ("good", other): False, ("good", api_address): False})

    world.kubectl("label", "pod", "bad", "role=good", "--overwrite")
    expect(world, {("bad", web): True})
    world.kubectl("label", "pod", "bad", "role=bad", "--overwrite")
    expect(world, {("bad", web): False, ("good", web): True})

    world.kubectl("delete", "networkpolicy", "--all")
    expect(world, every)


def test_a_denied_pod_reaches_no_node(world: Bench) -> None:
    internal = "{.status.addresses[?(@.type=='InternalIP')].address}"
    kubelets = [("good", f"{world.field('node', node, internal)}:10250") for node in world.nodes]
    expect(world, dict.fromkeys(kubelets, True))
    world.apply(policy("deny", DENY))
    expect(world, dict.fromkeys(kubelets, False))


def test_names_are_found_on_every_node(world: Bench) -> None:
    for client in ("good", "bad"):
        found = world.shell(client, f"nslookup web.{world.namespace}.svc.cluster.local")
        assert world.get("service", "web")["spec"]["clusterIP"] in found
