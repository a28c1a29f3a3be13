"""Every pod of the release is locked down as far as Pod Security's "restricted" asks, and then a bit further."""

from functools import cache
from typing import Any

import pytest
import yaml

from chart import helm

FULLNAME = f"{helm.RELEASE}-agentsessions"
STORE = f"{FULLNAME}-embedded-store"
PODS = (FULLNAME, STORE, f"{FULLNAME}-egress", f"{FULLNAME}-gateway", f"{FULLNAME}-test")
MORE = {"gateway": {"tls": {"secretName": "gateway-tls"}}, "embeddedStore": {"enabled": True}}


@cache
def manifests() -> tuple[helm.Manifest, ...]:
    """Return the release with everything that makes a pod."""
    return tuple(helm.template(helm.with_egress(upstream={"caConfigMap": {"name": "authorities"}}) | MORE))


def pod_specs() -> dict[str, dict[str, Any]]:
    """Return the pod specs of the release by the name of what makes them."""
    makers = [*helm.of_kind(manifests(), "Deployment"), *helm.of_kind(manifests(), "StatefulSet")]
    specs = {m["metadata"]["name"]: m["spec"]["template"]["spec"] for m in makers}
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
    assert all(set(volume) & {"configMap", "secret", "emptyDir", "projected"} for volume in spec.get("volumes", []))
    assert all("sizeLimit" in volume["emptyDir"] for volume in spec.get("volumes", []) if "emptyDir" in volume)


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
    assert not spec.get("initContainers")
    accounts = {account["metadata"]["name"]: account for account in helm.of_kind(manifests(), "ServiceAccount")}
    assert set(accounts) == {FULLNAME, f"{FULLNAME}-gateway"}
    assert {account["automountServiceAccountToken"] for account in accounts.values()} == {False}


def test_each_account_is_that_of_one_pod() -> None:
    named = {name: spec.get("serviceAccountName") for name, spec in pod_specs().items()}
    own = (FULLNAME, f"{FULLNAME}-gateway")
    assert named == dict.fromkeys(PODS) | {name: name for name in own}


def test_the_operator_and_the_directory_have_a_token_and_nobody_else() -> None:
    by_default = {name for name, spec in pod_specs().items() if spec["automountServiceAccountToken"]}
    assert by_default == {FULLNAME}
    assert mounters("projected") == {(f"{FULLNAME}-gateway", "directory", "token")}, (
        "Envoy, which strangers talk to, has none"
    )


def test_the_directorys_token_is_the_one_that_a_pod_gets_by_default() -> None:
    spec = pod_specs()[f"{FULLNAME}-gateway"]
    (token,) = [volume["projected"] for volume in spec["volumes"] if "projected" in volume]
    assert token["defaultMode"] == 0o440
    assert [set(source) for source in token["sources"]] == [{"serviceAccountToken"}, {"configMap"}, {"downwardAPI"}]
    directory = container(spec, "directory")
    (path,) = [mount["mountPath"] for mount in directory["volumeMounts"] if mount["name"] == "token"]
    assert path == "/var/run/secrets/kubernetes.io/serviceaccount"


def test_a_secret_is_mounted_by_the_one_container_that_needs_it() -> None:
    assert mounters("secret") == {
        (FULLNAME, "operator", STORE),
        (STORE, "valkey", STORE),
        (f"{FULLNAME}-egress", "envoy", "model-key"),
        (f"{FULLNAME}-gateway", "directory", f"{FULLNAME}-signing-key"),
        (f"{FULLNAME}-gateway", "envoy", "gateway-tls"),
    }


def test_secrets_are_whole_directories_that_only_their_group_reads() -> None:
    for spec in pod_specs().values():
        mounts = [mount for one in spec["containers"] for mount in one.get("volumeMounts", [])]
        assert not [mount for mount in mounts if "subPath" in mount], "a subPath is never updated"
        for secret in (volume["secret"] for volume in spec.get("volumes", []) if "secret" in volume):
            assert secret["defaultMode"] == 0o440


def test_whatever_a_container_mounts_but_scratch_space_and_claims_is_read_only() -> None:
    for spec in pod_specs().values():
        given = {volume["name"] for volume in spec.get("volumes", []) if "emptyDir" not in volume}
        for mount in (mount for one in spec["containers"] for mount in one.get("volumeMounts", [])):
            assert mount["name"] not in given or mount["readOnly"] is True


def test_the_containers_of_a_pod_share_no_scratch_space() -> None:
    for spec in pod_specs().values():
        scratch = [volume["name"] for volume in spec.get("volumes", []) if "emptyDir" in volume]
        used = [mount["name"] for one in spec["containers"] for mount in one.get("volumeMounts", [])]
        assert all(used.count(name) == 1 for name in scratch)


def mounters(kind: str) -> set[tuple[str, str, str]]:
    """Return (pod, container, what) for each mount of a volume of this kind: the Secret's name, else the volume's."""
    found = set()
    for name, spec in pod_specs().items():
        volumes = {volume["name"]: volume[kind] for volume in spec.get("volumes", []) if kind in volume}
        for one in spec["containers"]:
            for mount in one.get("volumeMounts", []):
                if mount["name"] in volumes:
                    found.add((name, one["name"], volumes[mount["name"]].get("secretName", mount["name"])))
    return found


def container(spec: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a container by its name."""
    (found,) = [one for one in spec["containers"] if one["name"] == name]
    return dict(found)


def test_one_operator_works_and_another_stands_by() -> None:
    deployment = helm.named(manifests(), "Deployment", FULLNAME)["spec"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"] == deployment["selector"]


def test_one_operator_alone_needs_no_room_for_a_second() -> None:
    deployment = helm.named(helm.template({"replicas": 1}), "Deployment", FULLNAME)["spec"]
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
    values = helm.with_egress(**scheduling) | {"gateway": scheduling} | scheduling | secrets
    for deployment in helm.of_kind(helm.template(values), "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        assert {key: spec[key] for key in scheduling | secrets} == scheduling | secrets


def test_a_digest_wins_over_a_tag() -> None:
    image = {"repository": "r/o", "tag": "1", "digest": "sha256:" + "b" * 64}
    spec = helm.named(helm.template({"image": image}), "Deployment", FULLNAME)["spec"]["template"]["spec"]
    assert spec["containers"][0]["image"] == "r/o@sha256:" + "b" * 64


@pytest.mark.parametrize("name", ["egress", "gateway"])
def test_proxies_outlive_their_drain(name: str) -> None:
    drained = helm.template(helm.with_egress(drainSeconds=90) | {"gateway": {"drainSeconds": 90}})
    spec = helm.named(drained, "Deployment", f"{FULLNAME}-{name}")["spec"]["template"]["spec"]
    assert [one["lifecycle"]["preStop"]["sleep"]["seconds"] for one in spec["containers"]] == [90] * len(
        spec["containers"]
    )
    assert spec["terminationGracePeriodSeconds"] > 90


@pytest.mark.parametrize("name", ["egress", "gateway"])
def test_proxies_are_replaced_without_a_gap_and_spread_over_nodes(name: str) -> None:
    spec = helm.named(manifests(), "Deployment", f"{FULLNAME}-{name}")["spec"]
    assert spec["replicas"] >= 2
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    (spread,) = spec["template"]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"] == spec["selector"]
    assert all({"livenessProbe", "readinessProbe"} <= set(one) for one in spec["template"]["spec"]["containers"])


def test_the_directory_reads_the_mounted_configuration_on_the_port_that_envoy_asks() -> None:
    made = helm.template({"gateway": {"directory": {"port": 9500}}})
    directory = container(
        helm.named(made, "Deployment", f"{FULLNAME}-gateway")["spec"]["template"]["spec"], "directory"
    )
    path = "/etc/agentsessions/directory.yaml"
    assert directory["command"] == ["python", "-m", "agentsessions", "directory", "--config", path]
    assert directory["args"][:2] == ["--port", "9500"]
    files = helm.named(made, "ConfigMap", f"{FULLNAME}-gateway")["data"]
    clusters = {one["name"]: one for one in yaml.safe_load(files["envoy.yaml"])["static_resources"]["clusters"]}
    (locality,) = clusters["directory"]["load_assignment"]["endpoints"]
    (asked,) = locality["lb_endpoints"]
    assert asked["endpoint"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 9500}


@pytest.mark.parametrize(
    ("tls", "url"),
    [("", f"http://{FULLNAME}-gateway:8443/health"), ("gateway-tls", f"https://{FULLNAME}-gateway:8443/health")],
)
def test_helm_test_asks_the_gateway_through_its_service(tls: str, url: str) -> None:
    assert url in asked_by_helm_test({"gateway": {"service": {"port": 8443}, "tls": {"secretName": tls}}})


def test_helm_test_asks_no_gateway_that_is_not_there() -> None:
    assert not [url for url in asked_by_helm_test({"gateway": {"enabled": False}}) if "gateway" in url]


def asked_by_helm_test(values: dict[str, Any]) -> list[str]:
    """Return the URLs that `helm test` gets."""
    (only,) = helm.named(helm.template(values), "Pod", f"{FULLNAME}-test")["spec"]["containers"]
    _, *urls = only["args"]
    return list(urls)


def test_egress_without_a_secret_says_what_is_missing() -> None:
    with pytest.raises(helm.HelmError, match=r"egress\.credential\.secretRef\.name must name the Secret"):
        helm.template({"egress": {"enabled": True}})
