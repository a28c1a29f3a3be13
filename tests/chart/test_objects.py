"""What holds for all objects of a release: names, labels, and the switches that leave objects out."""

import pytest

from chart import helm

FULLNAME = f"{helm.RELEASE}-agentsessions"
CLUSTER_NAME = f"{FULLNAME}.{helm.NAMESPACE}"
GATEWAY = f"{FULLNAME}-gateway"
MONITORING = "monitoring.coreos.com/v1"
CLUSTER_SCOPED = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}
EVERYTHING = helm.with_egress() | {
    "metrics": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboard": {"enabled": True},
    },
    "gateway": {"ingress": {"enabled": True, "host": "agents.example.com", "tlsSecretName": "ingress-tls"}},
    "embeddedStore": {"enabled": True},
}


def key(manifest: helm.Manifest) -> tuple[str, str, str]:
    """Return what makes an object unique in a cluster."""
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def makers(manifests: list[helm.Manifest]) -> dict[str, helm.Manifest]:
    """Return what makes pods, by name."""
    found = [*helm.of_kind(manifests, "Deployment"), *helm.of_kind(manifests, "StatefulSet")]
    return {manifest["metadata"]["name"]: manifest for manifest in found}


def test_every_namespaced_object_says_its_namespace() -> None:
    for manifest in helm.template(EVERYTHING, apis=[MONITORING]):
        expected = None if manifest["kind"] in CLUSTER_SCOPED else helm.NAMESPACE
        assert manifest["metadata"].get("namespace") == expected, key(manifest)


def test_every_object_has_the_recommended_labels_and_the_users_own() -> None:
    values = EVERYTHING | {"commonLabels": {"cost": "42"}, "crds": {"commonLabels": {"cost": "42"}}}
    for manifest in helm.template(values, apis=[MONITORING]):
        labels = manifest["metadata"]["labels"]
        assert labels["cost"] == "42", key(manifest)
        for name in ("name", "instance", "component", "part-of", "managed-by"):
            assert f"app.kubernetes.io/{name}" in labels, key(manifest)


def test_no_pod_of_the_release_passes_for_an_agent() -> None:
    for maker in makers(helm.template(EVERYTHING)).values():
        assert maker["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"


def test_selectors_do_not_change_with_version_or_common_labels() -> None:
    manifests = helm.template(EVERYTHING | {"commonLabels": {"cost": "42"}})
    for maker in makers(manifests).values():
        assert set(maker["spec"]["selector"]["matchLabels"]) == {
            f"app.kubernetes.io/{name}" for name in ("name", "instance", "component")
        }


def test_objects_are_unique_and_names_fit() -> None:
    long = {"fullnameOverride": "a-name-that-is-much-longer-than-any-name-in-a-cluster-may-ever-be"}
    manifests = helm.template(EVERYTHING | long, apis=[MONITORING])
    assert len({key(manifest) for manifest in manifests}) == len(manifests)
    assert all(len(manifest["metadata"]["name"]) <= 63 for manifest in manifests if "namespace" in manifest["metadata"])


def test_two_releases_of_one_name_share_nothing_but_the_crds() -> None:
    def cluster_wide(namespace: str) -> set[str]:
        text = helm.run("template", "same", str(helm.CHART), "--namespace", namespace, "--set", "crds.enabled=false")
        return {
            line.removeprefix("  name: ")
            for document in text.split("---")
            if any(f"kind: {kind}\n" in document for kind in CLUSTER_SCOPED)
            for line in document.splitlines()
            if line.startswith("  name: ")
        }

    assert cluster_wide("one")
    assert not cluster_wide("one") & cluster_wide("two")


@pytest.mark.parametrize(
    ("values", "gone"),
    [
        ({"networkPolicy": {"enabled": False}}, {("NetworkPolicy", FULLNAME)}),
        ({"gateway": {"networkPolicy": {"enabled": False}}}, {("NetworkPolicy", GATEWAY)}),
        (
            {"admissionPolicy": {"enabled": False}},
            {
                (kind, f"{CLUSTER_NAME}{part}")
                for kind in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
                for part in ("", ".hosts", ".sessions", ".marks", ".gateway")
            },
        ),
        ({"serviceAccount": {"create": False, "name": "mine"}}, {("ServiceAccount", FULLNAME)}),
        (
            {"crds": {"enabled": False}},
            {
                ("CustomResourceDefinition", f"{plural}.agentsessions.dev")
                for plural in ("agentsessions", "agenttemplates", "agentpools")
            },
        ),
        (
            {"gateway": {"enabled": False}},
            {
                (kind, f"{CLUSTER_NAME}.gateway")
                for kind in (
                    "ClusterRole",
                    "ClusterRoleBinding",
                    "ValidatingAdmissionPolicy",
                    "ValidatingAdmissionPolicyBinding",
                )
            }
            | {
                (kind, GATEWAY)
                for kind in (
                    "ConfigMap",
                    "Deployment",
                    "NetworkPolicy",
                    "PodDisruptionBudget",
                    "Service",
                    "ServiceAccount",
                )
            },
        ),
    ],
)
def test_what_is_switched_off_is_not_made(values: dict[str, object], gone: set[tuple[str, str]]) -> None:
    def made(values: dict[str, object]) -> set[tuple[str, str]]:
        return {(manifest["kind"], manifest["metadata"]["name"]) for manifest in helm.template(values)}

    assert made({}) - made(values) == gone
    assert made(values) <= made({})


def test_an_ingress_leads_to_the_gateways_service() -> None:
    assert not helm.of_kind(helm.template(), "Ingress")
    manifests = helm.template({"gateway": {"ingress": {"enabled": True, "host": "agents.example.com"}}})
    (ingress,) = helm.of_kind(manifests, "Ingress")
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    service = helm.named(manifests, "Service", path["backend"]["service"]["name"])
    assert rule["host"] == "agents.example.com"
    assert path["backend"]["service"]["port"]["name"] in [port["name"] for port in service["spec"]["ports"]]
    assert "tls" not in ingress["spec"]


def test_an_ingress_that_serves_no_name_says_what_is_missing() -> None:
    with pytest.raises(helm.HelmError, match=r"gateway\.ingress\.host must be set"):
        helm.template({"gateway": {"ingress": {"enabled": True}}})


@pytest.mark.parametrize("missing", ["issuer", "jwksUri"])
def test_oidc_without_a_provider_says_what_is_missing(missing: str) -> None:
    provider = {"issuer": "https://id.example.com", "jwksUri": "https://id.example.com/keys"} | {missing: ""}
    with pytest.raises(helm.HelmError, match=rf"gateway\.oidc\.{missing} must be set"):
        helm.template({"gateway": {"oidc": {"enabled": True} | provider}})


def test_services_lead_to_ports_of_the_pods_that_they_select() -> None:
    manifests = helm.template(EVERYTHING)
    for service in helm.of_kind(manifests, "Service"):
        pods = makers(manifests)[service["metadata"]["name"]]["spec"]
        assert service["spec"]["selector"] == pods["selector"]["matchLabels"]
        named = {port["name"] for one in pods["template"]["spec"]["containers"] for port in one.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named


@pytest.mark.parametrize("name", ["egress", "embedded-store"])
def test_what_has_to_be_switched_on_is_not_made_by_default(name: str) -> None:
    assert not [m for m in helm.template() if m["metadata"]["name"].endswith(name)]


def test_a_single_proxy_has_no_disruption_budget_that_would_block_a_drain() -> None:
    def budgets(replicas: int) -> set[str]:
        values = {"replicas": replicas, "gateway": {"replicas": replicas}}
        manifests = helm.template(helm.with_egress(replicas=replicas) | values)
        return {budget["metadata"]["name"] for budget in helm.of_kind(manifests, "PodDisruptionBudget")}

    assert budgets(2) == {FULLNAME, GATEWAY, f"{FULLNAME}-egress"}
    assert budgets(1) == set()


def test_extra_objects_are_templated() -> None:
    extra = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-extra"}}
    manifests = helm.template({"extraObjects": [extra]})
    assert helm.named(manifests, "ConfigMap", "release-extra")
