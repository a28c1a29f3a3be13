"""The pod of one Hybrid session: locked down as every pod, with a host of its own, and nothing that opens a door."""

import base64
import json

import pytest
from hypothesis import given

from agentsessions.api.base import Json
from agentsessions.api.config import EmbeddedStore, Gateway, OperatorConfig
from agentsessions.api.host import PROVES_CLI, HostDocument
from agentsessions.api.names import OWN_HOST_SELECTOR
from agentsessions.api.rollout import SessionRollout
from agentsessions.api.session import AgentSession
from agentsessions.api.template import KEY_VARIABLES, TemplateFields
from agentsessions.builders.ownhost import own_host_name, own_host_pod, own_host_secret
from agentsessions.policies.resolve import Settings
from unit.hybrid import NAME, STORE, UID, make_nap
from unit.make import NAMESPACE, make_settings
from unit.pools import KEYS, settings_of
from unit.strategies import TEMPLATES

CONFIG = OperatorConfig(
    gateway=Gateway(enabled=True, public_keys=KEYS),
    embedded_store=EmbeddedStore(enabled=True, url="redis://:hidden-word@store:6379/0"),
)
NAP = make_nap().build()


def build(settings: Settings | None = None, session: AgentSession = NAP, wake: int = 1) -> Json:
    """Return a pod."""
    return own_host_pod(session, settings or make_settings(session, CONFIG), wake, "secret", "policy", CONFIG)


def container(pod: Json) -> Json:
    """Return the only container."""
    (found,) = pod["spec"]["containers"]
    return dict(found)


def decoded(secret: Json) -> dict[str, str]:
    """Return the files of a Secret."""
    return {name: base64.b64decode(text).decode() for name, text in secret["data"].items()}


@pytest.mark.requirement("H20", "H33")
@given(TEMPLATES)
def test_whatever_the_template_the_pod_is_as_locked_down_as_every_other(template: TemplateFields) -> None:
    pod = build(settings_of(template))
    spec, inner = pod["spec"], container(pod)["securityContext"]
    assert inner == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert "serviceAccountName" not in spec
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "shareProcessNamespace"} & set(spec)
    kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"secret", "emptyDir", "persistentVolumeClaim"}
    resources = container(pod)["resources"]
    assert set(resources["limits"]) == {"cpu", "memory", "ephemeral-storage"}
    env = container(pod)["env"]
    assert [var for var in env if var["name"] in KEY_VARIABLES] == [
        {"name": "ANTHROPIC_API_KEY", "value": "placeholder"}
    ]
    assert not any("secretKeyRef" in var.get("valueFrom", {}) for var in env)


def test_the_whole_of_what_the_pod_is_besides() -> None:
    pod = build()
    assert pod["metadata"]["name"] == own_host_name(NAP, 1)
    assert pod["metadata"]["namespace"] == NAMESPACE
    labels = pod["metadata"]["labels"]
    assert all(labels.get(key) == value for key, value in (term.split("=") for term in OWN_HOST_SELECTOR.split(",")))
    assert labels["agentsessions.dev/attempt"] == "1"
    assert labels["agentsessions.dev/session-uid"] == UID
    assert labels["agentsessions.dev/network-policy"] == "policy"
    (owner,) = pod["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("AgentSession", UID, True)
    assert pod["spec"]["restartPolicy"] == "Always"
    assert container(pod)["args"] == ["serve"]
    env = {var["name"]: var.get("value") for var in container(pod)["env"]}
    assert env["AGENTSESSIONS_PUBLIC_KEYS"] == KEYS
    assert (env["AGENTSESSIONS_GRACE_SECONDS"], pod["spec"]["terminationGracePeriodSeconds"]) == ("29", 30)


@pytest.mark.requirement("K02", "H11")
@pytest.mark.parametrize(
    ("before", "proves"),
    [
        pytest.param(None, False, id="never-ran"),
        pytest.param("", False, id="nothing-is-known"),
        pytest.param("registry.example/agent:2", False, id="the-same-image"),
        pytest.param("registry.example/agent:1", True, id="another-image"),
    ],
)
def test_a_cli_is_proved_where_there_is_another_image_to_go_back_to(before: str | None, proves: bool) -> None:
    rollout = None if before is None else SessionRollout(current_image=before or None)
    session = make_nap(image="registry.example/agent:2").with_status(rollout=rollout).build()
    env = {var["name"]: var.get("value") for var in container(build(session=session))["env"]}
    assert env.get(PROVES_CLI) == ("true" if proves else None)


def test_no_grace_at_all_is_a_choice() -> None:
    pod = build(session=make_nap(terminationGracePeriodSeconds=0).build())
    env = {var["name"]: var.get("value") for var in container(pod)["env"]}
    assert env["AGENTSESSIONS_GRACE_SECONDS"] == str(pod["spec"]["terminationGracePeriodSeconds"]) == "0"


@pytest.mark.parametrize(
    ("grace", "lifecycle"),
    [(0, None), (1, None), (2, {"preStop": {"sleep": {"seconds": 1}}}), (30, {"preStop": {"sleep": {"seconds": 1}}})],
)
def test_a_signal_to_stop_waits_until_it_can_be_heard_but_not_beyond_the_grace(
    grace: int, lifecycle: dict[str, object] | None
) -> None:
    pod = build(session=make_nap(terminationGracePeriodSeconds=grace).build())
    assert container(pod).get("lifecycle") == lifecycle


def test_every_mount_has_a_volume_and_every_volume_a_mount() -> None:
    archive = {"s3": {"bucket": "files"}, "secretRef": {"name": "keys"}}
    for workspace in ({}, {"storage": "1Gi"}, {"archive": archive}):
        session = make_nap(workspace=workspace).build()
        pod = build(make_settings(session, CONFIG), session)
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        assert {mount["name"] for mount in container(pod)["volumeMounts"]} == volumes
        assert ("data" in volumes) is ("storage" in workspace)
        assert ("archive" in volumes) is ("archive" in workspace)


def test_pods_of_two_wakes_differ_in_name_and_number_only() -> None:
    one, other = build(wake=1), build(wake=2)
    assert one["metadata"].pop("name") != other["metadata"].pop("name")
    assert one["metadata"]["labels"].pop("agentsessions.dev/attempt") == "1"
    assert other["metadata"]["labels"].pop("agentsessions.dev/attempt") == "2"
    assert one == other


@pytest.mark.requirement("H40")
def test_host_json_says_who_the_session_is_and_where_it_is_kept() -> None:
    secret = own_host_secret(NAP, make_settings(NAP, CONFIG), CONFIG)
    told = HostDocument.model_validate(json.loads(decoded(secret)["host.json"]))
    assert (told.namespace, told.pool, told.pool_uid, told.sessions_per_host) == (NAMESPACE, NAME, UID, 1)
    assert told.implicit is None, "nobody else comes in"
    assert told.store is not None
    assert told.store.prefix == f"agentsessions/{NAMESPACE}"
    assert (secret["immutable"], set(secret["data"])) == (True, {"host.json"})


def test_another_content_is_another_secret_and_the_same_is_the_same() -> None:
    first = own_host_secret(NAP, make_settings(NAP, CONFIG), CONFIG)
    assert own_host_secret(NAP, make_settings(NAP, CONFIG), CONFIG) == first
    moved = make_nap(sessionStore=STORE | {"prefix": "other"}).build()
    assert own_host_secret(moved, make_settings(moved, CONFIG), CONFIG)["metadata"]["name"] != first["metadata"]["name"]


@pytest.mark.requirement("H33")
def test_the_embedded_stores_password_is_in_the_secret_and_nowhere_else() -> None:
    session = make_nap(sessionStore={"type": "Embedded"}).build()
    settings = make_settings(session, CONFIG)
    secret = own_host_secret(session, settings, CONFIG)
    assert decoded(secret)["store-url"] == CONFIG.embedded_store.url
    assert "hidden-word" not in decoded(secret)["host.json"]
    assert "hidden-word" not in json.dumps(build(settings, session))
    mounted = {
        volume["name"]: volume["secret"] for volume in build(settings, session)["spec"]["volumes"] if "secret" in volume
    }
    assert mounted["session"]["items"] == [{"key": "host.json", "path": "host.json"}]
    assert mounted["store"]["items"] == [{"key": "store-url", "path": "url"}]
