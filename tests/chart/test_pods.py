"""Every pod of the release is locked down as far as Pod Security's "restricted" asks, and then a bit further."""

from functools import cache
from typing import Any

import pytest

from chart import helm

FULLNAME = f"{helm.RELEASE}-agentsessions"
PODS = (FULLNAME, f"{FULLNAME}-egress", f"{FULLNAME}-test")


@cache
def manifests() -> tuple[helm.Manifest, ...]:
    """Return the release with everything that makes a pod."""
    return tuple(helm.template(helm.with_egress(upstream={"caConfigMap": {"name": "authorities"}})))


def pod_specs() -> dict[str, dict[str, Any]]:
    """Return the pod specs of the release by the name of what makes them."""
    specs = {m["metadata"]["name"]: m["spec"]["template"]["spec"] for m in helm.of_kind(manifests(), "Deployment")}
    return specs | {m["metadata"]["name"]: m["spec"] for m in helm.of_kind(manifests(), "Pod")}


@pytest.fixture
def spec(name: str) -> dict[str, Any]:
    """The pod spec of the pod that a test is parametrized with."""
    return pod_specs()[name]


def test_the_release_has_these_pods() -> None:
    assert sorted(pod_specs()) == sorted(PODS)


@pytest.mark.parametrize("name", PODS)
def test_pods_meet_the_restricted_profile(spec: dict[str, Any]) -> None:
    context = spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == 10001
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert all(set(volume) & {"configMap", "secret", "emptyDir"} for volume in spec.get("volumes", []))


@pytest.mark.parametrize("name", PODS)
def test_containers_meet_the_restricted_profile(spec: dict[str, Any]) -> None:
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["runAsNonRoot"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"requests", "limits"} <= set(container["resources"])


@pytest.mark.parametrize("name", PODS)
def test_nothing_is_mounted_by_accident(spec: dict[str, Any]) -> None:
    assert spec["enableServiceLinks"] is False
    needs_api = spec.get("serviceAccountName") is not None
    assert spec["automountServiceAccountToken"] is needs_api
    (account,) = helm.of_kind(manifests(), "ServiceAccount")
    assert account["automountServiceAccountToken"] is False


def test_only_the_proxy_mounts_the_key() -> None:
    mounted = {name for name, spec in pod_specs().items() for v in spec.get("volumes", []) if "secret" in v}
    assert mounted == {f"{FULLNAME}-egress"}
    spec = pod_specs()[f"{FULLNAME}-egress"]
    assert [v["secret"]["secretName"] for v in spec["volumes"] if "secret" in v] == ["model-key"]
    mounts = spec["containers"][0]["volumeMounts"]
    assert not [mount for mount in mounts if "subPath" in mount], "a subPath is never updated"


def test_one_operator_at_a_time() -> None:
    deployment = helm.named(manifests(), "Deployment", FULLNAME)["spec"]
    assert deployment["replicas"] == 1
    assert deployment["strategy"] == {"type": "Recreate"}


def test_the_operator_reads_the_mounted_configuration() -> None:
    (container,) = pod_specs()[FULLNAME]["containers"]
    path = "/etc/agentsessions/config.yaml"
    assert container["command"] == ["python", "-m", "agentsessions", "run", "--config", path]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}


def test_scheduling_values_reach_the_pods() -> None:
    scheduling = {
        "priorityClassName": "high",
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "topologySpreadConstraints": [{"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}],
    }
    secrets = {"imagePullSecrets": [{"name": "registry"}]}
    for deployment in helm.of_kind(helm.template(helm.with_egress(**scheduling) | scheduling | secrets), "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        assert {key: spec[key] for key in scheduling | secrets} == scheduling | secrets


def test_a_digest_wins_over_a_tag() -> None:
    image = {"repository": "r/o", "tag": "1", "digest": "sha256:" + "b" * 64}
    spec = helm.named(helm.template({"image": image}), "Deployment", FULLNAME)["spec"]["template"]["spec"]
    assert spec["containers"][0]["image"] == "r/o@sha256:" + "b" * 64


def test_the_proxy_outlives_its_drain() -> None:
    drained = helm.template(helm.with_egress(drainSeconds=90))
    spec = helm.named(drained, "Deployment", f"{FULLNAME}-egress")["spec"]["template"]["spec"]
    assert spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] == 90
    assert spec["terminationGracePeriodSeconds"] > 90


def test_egress_without_a_secret_says_what_is_missing() -> None:
    with pytest.raises(helm.HelmError, match=r"egress\.credential\.secretRef\.name must name the Secret"):
        helm.template({"egress": {"enabled": True}})
