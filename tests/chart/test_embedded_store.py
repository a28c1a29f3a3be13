"""The embedded store: reached by agents and operator only, and no password in anything that the chart says."""

import json
import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentsessions.api.config import EmbeddedStore, OperatorConfig
from chart import helm

FULLNAME = f"{helm.RELEASE}-agentsessions"
NAME = f"{FULLNAME}-embedded-store"
ENABLED = {"embeddedStore": {"enabled": True}}
TOO_LONG = {"fullnameOverride": "a-name-that-is-much-longer-than-any-name-in-a-cluster-may-ever-be"}


def with_store(**values: Any) -> dict[str, Any]:
    """Return values that switch the store on, with `values` under `embeddedStore`."""
    return {"embeddedStore": {"enabled": True} | values}


@cache
def manifests() -> tuple[helm.Manifest, ...]:
    """Return the release with the store and nothing else changed."""
    return tuple(helm.template(ENABLED))


def stateful_set(values: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the StatefulSet's spec."""
    made = helm.template(values) if values else manifests()
    return dict(helm.named(made, "StatefulSet", NAME)["spec"])


def container(values: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the store's container."""
    (only,) = stateful_set(values)["template"]["spec"]["containers"]
    return dict(only)


def policy(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of one NetworkPolicy."""
    return dict(helm.named(helm.template(values), "NetworkPolicy", name)["spec"])


def config(values: dict[str, Any]) -> EmbeddedStore:
    """Return what the operator is told about the store."""
    made = helm.named(helm.template(values), "ConfigMap", FULLNAME)
    return OperatorConfig.model_validate(yaml.safe_load(made["data"]["config.yaml"])).embedded_store


def test_the_operators_file_says_all_about_it_but_the_url_with_the_password() -> None:
    made = helm.named(manifests(), "ConfigMap", FULLNAME)
    said = yaml.safe_load(made["data"]["config.yaml"])["embeddedStore"]
    assert set(said) == {field.alias for field in EmbeddedStore.model_fields.values()} - {"url"}


def test_it_is_off_by_default_for_chart_and_operator() -> None:
    assert not config({}).enabled
    assert not EmbeddedStore().enabled
    assert config(ENABLED).enabled


def test_the_operator_knows_where_the_store_is() -> None:
    told = config(ENABLED)
    service = helm.named(manifests(), "Service", NAME)
    assert told.host == f"{NAME}.{helm.NAMESPACE}.svc"
    assert told.namespace == service["metadata"]["namespace"] == helm.NAMESPACE
    assert told.pod_labels == service["spec"]["selector"] == stateful_set()["selector"]["matchLabels"]
    assert [told.port] == [port["port"] for port in service["spec"]["ports"]]
    assert [told.port] == [port["containerPort"] for port in container()["ports"]]


@pytest.mark.parametrize(("values", "name", "made"), [({}, NAME, True), ({"existingSecret": "mine"}, "mine", False)])
def test_store_and_operator_mount_the_same_secret_which_the_operator_makes_unless_it_is_the_users(
    values: dict[str, Any], name: str, made: bool
) -> None:
    told = config(with_store(**values))
    rendered = helm.template(with_store(**values))
    assert (told.secret_name, told.make_secret) == (name, made)
    operator = helm.named(rendered, "Deployment", FULLNAME)["spec"]["template"]["spec"]
    store = helm.named(rendered, "StatefulSet", NAME)["spec"]["template"]["spec"]
    for spec in (operator, store):
        (volume,) = [volume["secret"] for volume in spec["volumes"] if "secret" in volume]
        assert (volume["secretName"], volume["items"]) == (name, [{"key": "password", "path": "password"}])


def test_the_operator_starts_without_the_secret_and_finds_it_where_it_looks_for_it() -> None:
    spec = helm.named(manifests(), "Deployment", FULLNAME)["spec"]["template"]["spec"]
    (volume,) = [volume for volume in spec["volumes"] if "secret" in volume]
    assert volume["secret"]["optional"] is True
    (mount,) = [mount for mount in spec["containers"][0]["volumeMounts"] if mount["name"] == volume["name"]]
    assert f"{mount['mountPath']}/password" == config(ENABLED).password_file


def test_the_operator_may_make_the_secret_and_cannot_read_it() -> None:
    def allows(role: helm.Manifest, verb: str) -> bool:
        return any(
            "secrets" in rule["resources"] and verb in rule["verbs"] and NAME in rule.get("resourceNames", [NAME])
            for rule in role["rules"]
        )

    here = [role for role in helm.of_kind(manifests(), "Role") if role["metadata"]["namespace"] == helm.NAMESPACE]
    assert any(allows(role, "create") for role in here)
    everywhere = [*here, *helm.of_kind(manifests(), "ClusterRole")]
    assert not any(allows(role, verb) for role in everywhere for verb in ("get", "list", "watch"))


def test_the_chart_makes_no_secret_and_renders_the_same_every_time() -> None:
    assert not helm.of_kind(manifests(), "Secret")
    assert helm.template(ENABLED) == list(manifests())


def test_no_variable_holds_the_password() -> None:
    assert "env" not in container()
    assert "envFrom" not in container()


def test_it_says_what_it_is_for() -> None:
    for kind in ("StatefulSet", "Service"):
        assert "trying" in helm.named(manifests(), kind, NAME)["metadata"]["annotations"]["agentsessions.dev/purpose"]


def test_only_agents_and_the_operator_reach_it_and_it_reaches_nobody() -> None:
    spec = policy(NAME, ENABLED)
    (rule,) = spec["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 6379}]
    agents, operator = rule["from"]
    assert agents == {
        "podSelector": {"matchLabels": {"app.kubernetes.io/managed-by": "agentsessions"}},
        "namespaceSelector": {},
    }
    selector = helm.named(manifests(), "Deployment", FULLNAME)["spec"]["selector"]
    assert operator == {"podSelector": selector}
    assert (spec["policyTypes"], spec["egress"]) == (["Ingress", "Egress"], [])


def test_only_agents_of_watched_namespaces_reach_it() -> None:
    (rule,) = policy(NAME, ENABLED | {"watchNamespaces": ["team-a"]})["ingress"]
    (expression,) = rule["from"][0]["namespaceSelector"]["matchExpressions"]
    assert (expression["operator"], expression["values"]) == ("In", ["team-a"])


def test_the_operators_fence_opens_for_it_and_for_nothing_else() -> None:
    before, after = policy(FULLNAME, {})["egress"], policy(FULLNAME, ENABLED)["egress"]
    (added,) = [rule for rule in after if rule not in before]
    assert added["ports"] == [{"protocol": "TCP", "port": 6379}]
    assert added["to"] == [{"podSelector": stateful_set()["selector"]}]


def test_its_fence_can_be_left_to_somebody_else() -> None:
    made = helm.template(with_store(networkPolicy={"enabled": False}))
    assert NAME not in [one["metadata"]["name"] for one in helm.of_kind(made, "NetworkPolicy")]


def test_it_is_one_pod_whose_volume_outlives_the_release() -> None:
    spec = stateful_set()
    assert spec["replicas"] == 1
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}


def test_its_volume_follows_the_values() -> None:
    (usual,) = stateful_set()["volumeClaimTemplates"]
    assert usual["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    (chosen,) = stateful_set(with_store(storage="5Gi", storageClassName="fast"))["volumeClaimTemplates"]
    assert chosen["spec"]["storageClassName"] == "fast"
    assert chosen["spec"]["resources"]["requests"]["storage"] == "5Gi"


def test_what_kubernetes_lets_nobody_change_does_not_follow_labels_and_versions() -> None:
    other = stateful_set(ENABLED | {"commonLabels": {"cost": "42"}})
    for key in ("volumeClaimTemplates", "selector", "serviceName"):
        assert other[key] == stateful_set()[key]
    assert "version" not in json.dumps(other["volumeClaimTemplates"])


def test_its_name_leaves_room_for_the_hash_that_kubernetes_adds() -> None:
    (made,) = helm.of_kind(helm.template(ENABLED | TOO_LONG), "StatefulSet")
    assert len(made["metadata"]["name"]) + len("-0123456789") <= 63


def test_scheduling_values_reach_it() -> None:
    chosen: dict[str, Any] = {
        "priorityClassName": "high",
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
    }
    secrets = {"imagePullSecrets": [{"name": "registry"}]}
    annotations = {"podAnnotations": {"a": "b"}}
    pod = stateful_set(with_store(**chosen, **annotations) | secrets)["template"]
    assert {key: pod["spec"][key] for key in chosen | secrets} == chosen | secrets
    assert pod["metadata"]["annotations"]["a"] == "b"


def test_its_memory_is_limited_well_above_what_it_keeps() -> None:
    kept = re.search(r"--maxmemory (\d+)mb", container()["args"][0])
    limit = re.fullmatch(r"(\d+)Mi", container()["resources"]["limits"]["memory"])
    assert kept is not None
    assert limit is not None
    assert int(limit[1]) >= 2 * int(kept[1])


def test_it_is_alive_by_any_answer_and_ready_by_the_right_one() -> None:
    assert container()["livenessProbe"]["exec"]["command"] == ["valkey-cli", "ping"]
    assert container()["readinessProbe"]["exec"]["command"][-1].endswith("= PONG")


@pytest.mark.parametrize("password", ["simple", "sp ace \"quote' \\x7 $HOME", "newline-at-the-end\n"])
def test_the_server_is_started_with_the_passwords_hash(tmp_path: Path, password: str) -> None:
    arguments, users = started(tmp_path, password)
    assert "--appendonly yes --appendfsync everysec" in arguments
    assert "--maxmemory 256mb --maxmemory-policy noeviction" in arguments
    digest = subprocess.run(["sha256sum"], input=password.rstrip("\n"), text=True, capture_output=True, check=True)
    assert users == f"user default on #{digest.stdout.split()[0]} ~* &* +@all -@admin -@dangerous +info\n"
    assert password.strip() not in arguments


def test_an_empty_password_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        started(tmp_path, "")
    assert f"'password' of Secret {NAME} is empty" in refused.value.stderr


def started(folder: Path, password: str) -> tuple[str, str]:
    """Run the start script with a server that only says its arguments; return them, and the file of users."""
    secret, scratch, programs = (folder / name for name in ("secret", "scratch", "programs"))
    for path in (secret, scratch, programs):
        path.mkdir()
    (secret / "password").write_text(password)
    server = programs / "valkey-server"
    server.write_text('#!/bin/sh\necho "$*"\n')
    server.chmod(0o755)
    mounted = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    script = container()["args"][0].replace("/tmp/", f"{scratch}/").replace(mounted["password"], str(secret))
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    command = [*container()["command"], script]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=True)
    return done.stdout, (scratch / "users.acl").read_text()
