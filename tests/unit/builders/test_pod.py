"""The pod of an attempt: whole, and what holds for every pod."""

import json
from datetime import timedelta

import pytest
from hypothesis import given

from agentsessions.api.base import Json
from agentsessions.api.config import BUILT_IN, Gateway
from agentsessions.api.session import AgentSession
from agentsessions.api.template import TemplateFields
from agentsessions.builders.pod import session_pod
from agentsessions.policies.resolve import Settings, resolve
from unit.make import CONFIG, PROMPT, UID, make_session, make_settings
from unit.strategies import TEMPLATES, sessions


def build(
    session: AgentSession | None = None,
    settings: Settings | None = None,
    attempt: int = 0,
    deadline: timedelta | None = timedelta(hours=1),
    gateway: Gateway | None = None,
) -> Json:
    """Return a pod."""
    session = session or make_session().build()
    settings = settings or make_settings(session)
    gateway = gateway or Gateway()
    return session_pod(
        session, settings, attempt, secret="files", policy_label="policy", deadline=deadline, gateway=gateway
    )


def settings_for(session: AgentSession, template: TemplateFields) -> Settings:
    """Return the settings of a session with a template."""
    return resolve(session.spec, template, CONFIG.defaults, template_name="default")


def container(pod: Json) -> Json:
    """Return the only container."""
    (found,) = pod["spec"]["containers"]
    return dict(found)


def test_the_whole_pod_of_the_smallest_session() -> None:
    assert build() == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "hello-199a6b7b-0",
            "namespace": "team-a",
            "labels": {
                "app.kubernetes.io/managed-by": "agentsessions",
                "app.kubernetes.io/name": "agentsession",
                "app.kubernetes.io/component": "session",
                "agentsessions.dev/session": "hello",
                "agentsessions.dev/session-uid": UID,
                "agentsessions.dev/attempt": "0",
                "agentsessions.dev/disruption": "AtTurnBoundary",
                "agentsessions.dev/network-policy": "policy",
            },
            "annotations": {
                "agentsessions.dev/template-hash": make_settings().hash,
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "true",
            },
            "ownerReferences": [
                {
                    "apiVersion": "agentsessions.dev/v1alpha1",
                    "kind": "AgentSession",
                    "name": "hello",
                    "uid": UID,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 30,
            "activeDeadlineSeconds": 3600,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "fsGroup": 10001,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "agent",
                    "image": BUILT_IN.image,
                    "imagePullPolicy": "IfNotPresent",
                    "env": [
                        {"name": "AGENTSESSIONS_SESSION_ID", "value": UID},
                        {"name": "AGENTSESSIONS_SESSION_DIR", "value": "/var/run/agentsessions/session"},
                        {"name": "AGENTSESSIONS_STATE_DIR", "value": "/state"},
                        {"name": "AGENTSESSIONS_GRACE_SECONDS", "value": "29"},
                        {"name": "HOME", "value": "/home/agent"},
                        {"name": "TMPDIR", "value": "/tmp"},
                        {"name": "CLAUDE_CONFIG_DIR", "value": "/state/claude"},
                        {"name": "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "value": "1"},
                        {"name": "ANTHROPIC_API_KEY", "value": "placeholder"},
                        {"name": "ANTHROPIC_BASE_URL", "value": "http://model.test"},
                        {"name": "AGENTSESSIONS_DEADLINE_SECONDS", "value": "3600"},
                    ],
                    "resources": {
                        "limits": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "5Gi"},
                        "requests": {"cpu": "250m", "memory": "1Gi", "ephemeral-storage": "5Gi"},
                    },
                    "volumeMounts": [
                        {"name": "session", "mountPath": "/var/run/agentsessions/session", "readOnly": True},
                        {"name": "home", "mountPath": "/home/agent"},
                        {"name": "tmp", "mountPath": "/tmp"},
                        {"name": "workspace", "mountPath": "/workspace"},
                        {"name": "state", "mountPath": "/state"},
                    ],
                    "terminationMessagePolicy": "File",
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "runAsNonRoot": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
                }
            ],
            "volumes": [
                {
                    "name": "session",
                    "projected": {
                        "defaultMode": 0o440,
                        "sources": [
                            {
                                "secret": {
                                    "name": "files",
                                    "items": [
                                        {"key": "session.json", "path": "session.json"},
                                        {"key": "prompt", "path": "prompt"},
                                    ],
                                }
                            }
                        ],
                    },
                },
                {"name": "home", "emptyDir": {"sizeLimit": "5Gi"}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "5Gi"}},
                {"name": "workspace", "emptyDir": {"sizeLimit": "5Gi"}},
                {"name": "state", "emptyDir": {"sizeLimit": "5Gi"}},
            ],
        },
    }


@pytest.mark.requirement("H20")
@given(sessions(), TEMPLATES)
def test_every_pod_is_restricted_whatever_session_and_template_say(
    session: AgentSession, template: TemplateFields
) -> None:
    """Pod Security waives runAsNonRoot where hostUsers is false, so it is held here and not only by admission."""
    pod = build(session, settings_for(session, template))
    spec, inner = pod["spec"], container(pod)["securityContext"]
    assert inner["allowPrivilegeEscalation"] is False
    assert inner["capabilities"] == {"drop": ["ALL"]}
    assert inner["readOnlyRootFilesystem"] is True
    assert inner["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in spec
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "shareProcessNamespace"} & set(spec)


@given(sessions(), TEMPLATES)
def test_no_volume_reaches_the_node(session: AgentSession, template: TemplateFields) -> None:
    pod = build(session, settings_for(session, template))
    kinds = {kind for volume in pod["spec"]["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"projected", "emptyDir", "persistentVolumeClaim"}


@given(sessions(), TEMPLATES)
def test_the_prompt_is_nowhere_in_the_pod(session: AgentSession, template: TemplateFields) -> None:
    pod = build(session, settings_for(session, template))
    assert "SECRET-TASK" not in json.dumps(pod)
    assert not {"command", "args"} & set(container(pod))


@given(sessions(), TEMPLATES)
def test_the_pod_holds_no_key_but_the_placeholder(session: AgentSession, template: TemplateFields) -> None:
    env = container(build(session, settings_for(session, template)))["env"]
    keys = [var for var in env if var["name"] == "ANTHROPIC_API_KEY"]
    assert keys == [{"name": "ANTHROPIC_API_KEY", "value": "placeholder"}]


@given(sessions(), TEMPLATES)
def test_every_pod_is_bounded_in_everything(session: AgentSession, template: TemplateFields) -> None:
    pod = build(session, settings_for(session, template))
    resources = container(pod)["resources"]
    assert set(resources["limits"]) == set(resources["requests"]) == {"cpu", "memory", "ephemeral-storage"}
    assert all("sizeLimit" in v["emptyDir"] for v in pod["spec"]["volumes"] if "emptyDir" in v)
    assert pod["spec"]["activeDeadlineSeconds"] >= 1
    assert pod["spec"]["restartPolicy"] == "Never"


@given(sessions(), TEMPLATES)
def test_every_mount_has_its_volume(session: AgentSession, template: TemplateFields) -> None:
    pod = build(session, settings_for(session, template))
    assert {m["name"] for m in container(pod)["volumeMounts"]} == {v["name"] for v in pod["spec"]["volumes"]}
    paths = [m["mountPath"] for m in container(pod)["volumeMounts"]]
    assert sorted(paths) == ["/home/agent", "/state", "/tmp", "/var/run/agentsessions/session", "/workspace"]


@given(sessions(), TEMPLATES)
def test_the_same_session_gives_the_same_pod(session: AgentSession, template: TemplateFields) -> None:
    again = AgentSession.model_validate(session.model_dump(by_alias=True))
    assert json.dumps(build(session, settings_for(session, template))) == json.dumps(
        build(again, settings_for(again, template))
    )


def test_what_the_template_asks_for_is_in_the_pod() -> None:
    session = make_session().build()
    settings = make_settings(
        session,
        image="registry.test/mine:2",
        image_pull_policy="Always",
        image_pull_secrets=[{"name": "pull"}],
        security={"runtimeClassName": "gvisor", "hostUsers": False},
        node_selector={"b": "2", "a": "1"},
        tolerations=[{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        priority_class_name="low",
        termination_grace_period_seconds=5,
    )
    pod = build(session, settings)
    wanted = {
        "imagePullSecrets": [{"name": "pull"}],
        "runtimeClassName": "gvisor",
        "hostUsers": False,
        "nodeSelector": {"a": "1", "b": "2"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "priorityClassName": "low",
        "terminationGracePeriodSeconds": 5,
    }
    assert {key: pod["spec"][key] for key in wanted} == wanted
    assert container(pod)["image"] == "registry.test/mine:2"
    assert container(pod)["imagePullPolicy"] == "Always"


def test_the_next_attempt_differs_in_name_and_label_only() -> None:
    first, second = build(attempt=0), build(attempt=1)
    assert second["metadata"]["name"] == "hello-199a6b7b-1"
    assert second["metadata"]["labels"]["agentsessions.dev/attempt"] == "1"
    assert first["spec"] == second["spec"]


@pytest.mark.parametrize(
    ("left", "seconds"),
    [
        pytest.param(timedelta(seconds=90.9), 90, id="whole-seconds"),
        pytest.param(timedelta(seconds=0.2), 1, id="one-at-least"),
        pytest.param(timedelta(seconds=-5), 1, id="late"),
    ],
)
def test_the_deadline_is_the_time_that_is_left(left: timedelta, seconds: int) -> None:
    assert build(deadline=left)["spec"]["activeDeadlineSeconds"] == seconds


def test_no_deadline() -> None:
    assert "activeDeadlineSeconds" not in build(deadline=None)["spec"]


def test_a_pod_says_which_settings_it_was_made_with() -> None:
    one = build(settings=make_settings(image="x"))["metadata"]["annotations"]
    other = build(settings=make_settings(image="y"))["metadata"]["annotations"]
    assert one != other


def test_the_prompt_is_not_in_the_labels_either() -> None:
    assert PROMPT not in json.dumps(build()["metadata"])


@pytest.mark.requirement("H10")
def test_with_a_gateway_a_pod_knows_who_it_is_and_whom_to_trust() -> None:
    alone, talked_to = container(build()), container(build(gateway=Gateway(enabled=True, public_keys="{}")))
    assert talked_to.pop("ports") == [{"name": "http", "containerPort": 8000, "protocol": "TCP"}]
    before = alone.pop("env")
    more = {var.pop("name"): var for var in talked_to.pop("env") if var not in before}
    assert more == {
        "AGENTSESSIONS_PUBLIC_KEYS": {"value": "{}"},
        "AGENTSESSIONS_POD_NAME": {"valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
        "AGENTSESSIONS_POD_UID": {"valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}},
    }
    assert talked_to == alone


def test_who_a_pod_trusts_is_not_for_a_template_to_say() -> None:
    gateway = Gateway(enabled=True, public_keys="ours")
    names = ("AGENTSESSIONS_PUBLIC_KEYS", "AGENTSESSIONS_POD_UID", "AGENTSESSIONS_POD_NAME")
    settings = make_settings(env=[{"name": name, "value": "theirs"} for name in names])
    assert container(build(settings=settings, gateway=gateway))["env"] == container(build(gateway=gateway))["env"]
    for name in names:
        settings = make_settings(prompt_environment_variable=name)
        assert container(build(settings=settings, gateway=gateway))["env"] == container(build(gateway=gateway))["env"]
