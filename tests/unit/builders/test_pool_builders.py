"""The children of a pool: locked-down hosts, what rolls them, what finds them, and what outlives them."""

import base64
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsessions.api.base import Json
from agentsessions.api.config import Gateway, OperatorConfig
from agentsessions.api.host import PORT, HostDocument
from agentsessions.api.names import ANNOTATION_TEMPLATE_HASH, digest
from agentsessions.api.pool import AgentPool
from agentsessions.api.template import KEY_VARIABLES, EnvVar, TemplateFields
from agentsessions.builders.pod import session_pod
from agentsessions.builders.pool.hosts import GRACE_RESERVE_SECONDS, hosts
from agentsessions.builders.pool.meta import selector, stem
from agentsessions.builders.pool.neighbours import disruption_budget, headless_service
from agentsessions.builders.pool.secret import host_secret
from agentsessions.policies.capacity import host_size
from agentsessions.policies.resolve import Settings, resolve
from unit.lasting import POOL_UID, make_pool
from unit.make import BASE_URL, CONFIG, NAMESPACE, make_session
from unit.strategies import TEMPLATES

KEYS = '{"keys": []}'
WITH_GATEWAY = OperatorConfig(gateway=Gateway(enabled=True, public_keys=KEYS))
OWNER = {
    "apiVersion": "agentsessions.dev/v1alpha1",
    "kind": "AgentPool",
    "name": "chat",
    "uid": POOL_UID,
    "controller": True,
    "blockOwnerDeletion": True,
}
FINDS = {"agentsessions.dev/pool": "chat", "agentsessions.dev/pool-uid": POOL_UID}
LABELS = FINDS | {
    "app.kubernetes.io/managed-by": "agentsessions",
    "app.kubernetes.io/name": "agentsession",
    "app.kubernetes.io/component": "host",
}
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,48}[a-z0-9])?", fullmatch=True)


def a_pool(name: str = "chat", **spec: Any) -> AgentPool:
    """Return a pool."""
    body = make_pool(**spec)
    return AgentPool.model_validate(body | {"metadata": body["metadata"] | {"name": name}})


def settings_of(template: TemplateFields | None = None) -> Settings:
    """Return what hosts of a template run with."""
    return resolve(TemplateFields(), template, CONFIG.defaults, template_name="default")


def template_of(**fields: Any) -> TemplateFields:
    """Return a template, by the names of its manifest."""
    return TemplateFields.model_validate(fields)


def build(
    pool: AgentPool | None = None,
    template: TemplateFields | None = None,
    *,
    replicas: int = 1,
    policy: str = "policy",
    config: OperatorConfig = WITH_GATEWAY,
) -> Json:
    """Return the StatefulSet of a pool, with the name of the Secret that belongs to it."""
    pool = pool or a_pool()
    settings, size = settings_of(template), host_size(pool.spec)
    secret = host_secret(pool, settings, size)["metadata"]["name"]
    return hosts(pool, settings, size, replicas, secret, policy, config)


def pod(made: Json) -> Json:
    """Return the template's pod spec."""
    found: Json = made["spec"]["template"]["spec"]
    return found


def container(made: Json) -> Json:
    """Return the only container."""
    (found,) = pod(made)["containers"]
    return dict(found)


def hash_of(made: Json) -> str:
    """Return the hash by which hosts of older settings are known."""
    return str(made["spec"]["template"]["metadata"]["annotations"][ANNOTATION_TEMPLATE_HASH])


def variables(made: Json) -> dict[str, Json]:
    """Return the host's variables by name; none may be there twice."""
    env = container(made)["env"]
    assert len({var["name"] for var in env}) == len(env)
    return {var["name"]: var for var in env}


def secret_of(pool: AgentPool, template: TemplateFields | None = None) -> Json:
    """Return the pool's Secret."""
    return host_secret(pool, settings_of(template), host_size(pool.spec))


def document(secret: Json) -> HostDocument:
    """Return host.json as the host reads it."""
    return HostDocument.model_validate(json.loads(base64.b64decode(secret["data"]["host.json"])))


@pytest.mark.requirement("H25")
@given(TEMPLATES)
def test_whatever_the_template_hosts_are_as_locked_down_as_the_pod_of_a_session(template: TemplateFields) -> None:
    session = make_session().build()
    settings = resolve(session.spec, template, CONFIG.defaults, template_name="default")
    alone = session_pod(
        session, settings, 0, secret="s", policy_label="p", deadline=timedelta(hours=1), gateway=Gateway()
    )["spec"]
    made = build(template=template)
    spec = pod(made)
    for key in ("automountServiceAccountToken", "enableServiceLinks", "securityContext", "hostUsers"):
        assert spec.get(key) == alone.get(key), key
    assert container(made)["securityContext"] == alone["containers"][0]["securityContext"]
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "serviceAccountName"} & set(spec)
    assert all(set(volume) & {"secret", "emptyDir"} for volume in spec["volumes"])


@given(TEMPLATES)
def test_no_template_puts_a_key_into_a_host_or_replaces_what_the_host_is_told(template: TemplateFields) -> None:
    ours, theirs = variables(build()), variables(build(template=template))
    carried = set(KEY_VARIABLES) & set(theirs)
    assert carried == {"ANTHROPIC_API_KEY"}
    assert theirs["ANTHROPIC_API_KEY"]["value"] == "placeholder"
    told = {name: var for name, var in theirs.items() if name in ours and name != "ANTHROPIC_BASE_URL"}
    assert told == {name: var for name, var in ours.items() if name != "ANTHROPIC_BASE_URL"}
    assert not any("secretKeyRef" in var.get("valueFrom", {}) for var in theirs.values())


@pytest.mark.parametrize("name", KEY_VARIABLES)
def test_a_key_in_the_operators_own_defaults_does_not_reach_hosts(name: str) -> None:
    # The schema refuses it in resources; the operator's own defaults come by another way.
    defaults = CONFIG.defaults.model_copy(update={"env": [EnvVar(name=name, value="b")]})
    settings = resolve(TemplateFields(), None, defaults, template_name=None)
    pool = a_pool()
    made = hosts(pool, settings, host_size(pool.spec), 1, "secret", "policy", WITH_GATEWAY)
    assert {var.get("value") for var in variables(made).values()}.isdisjoint({"b"})


def test_the_environment_of_a_host_is_exactly_this() -> None:
    assert {name: var.get("value") for name, var in variables(build(a_pool(drainSeconds=50))).items()} == {
        "AGENTSESSIONS_SESSION_DIR": "/var/run/agentsessions/session",
        "AGENTSESSIONS_STATE_DIR": "/state",
        "AGENTSESSIONS_PUBLIC_KEYS": KEYS,
        "AGENTSESSIONS_GRACE_SECONDS": str(50 + GRACE_RESERVE_SECONDS),
        "HOME": "/home/agent",
        "TMPDIR": "/tmp",
        "CLAUDE_CONFIG_DIR": "/state/claude",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "ANTHROPIC_API_KEY": "placeholder",
        "ANTHROPIC_BASE_URL": BASE_URL,
        "AGENTSESSIONS_POD_NAME": None,
        "AGENTSESSIONS_POD_UID": None,
    }


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_only_the_number_of_hosts_differs_between_sizes_of_a_pool(few: int, many: int) -> None:
    one, other = build(replicas=few), build(replicas=many)
    assert (one["spec"].pop("replicas"), other["spec"].pop("replicas")) == (few, many)
    assert one == other


def test_the_hash_is_of_the_very_template() -> None:
    assert hash_of(build()) == hash_of(build())
    assert hash_of(build()) != hash_of(build(policy="other"))
    assert hash_of(build()) != hash_of(build(template=template_of(image="registry.test/other:1")))
    assert hash_of(build()) != hash_of(build(a_pool(drainSeconds=7)))
    assert hash_of(build()) != hash_of(build(config=CONFIG)), "other keys"


def test_what_a_pool_says_of_the_number_of_its_hosts_alone_rolls_none() -> None:
    scaled = {"autoscaling": {"maxReplicas": 5}, "loadFactor": "2"}
    assert build(a_pool(**scaled)) == build(a_pool()) == build(a_pool(replicas=9))


@pytest.mark.parametrize(
    ("spec", "template"),
    [
        ({"maxQueuedMessages": 3}, None),
        ({"sessionsPerHost": 7}, None),
        ({"implicitSessions": True}, None),
        ({"implicitSessions": True, "perSessionMemory": "200Mi"}, None),
        ({"implicitSessions": True}, {"agent": {"model": "other"}}),
        ({"implicitSessions": True}, {"contentLogging": "Include"}),
        ({"implicitSessions": True}, {"limits": {"recycleAgeSeconds": 60}}),
    ],
)
def test_a_change_of_host_json_is_another_secret_and_another_template(spec: Json, template: Json | None) -> None:
    fields = template_of(**template) if template else None
    before = secret_of(a_pool(**({"implicitSessions": True} if template else {})))
    changed = secret_of(a_pool(**spec), fields)
    assert changed["metadata"]["name"] != before["metadata"]["name"]
    (mounted,) = [volume["secret"] for volume in pod(build(a_pool(**spec), fields))["volumes"] if "secret" in volume]
    assert mounted == {"secretName": changed["metadata"]["name"], "defaultMode": 0o440}
    assert hash_of(build(a_pool(**spec), fields)) != hash_of(build())


def test_the_secret_is_immutable_and_the_same_for_the_same_content() -> None:
    made = secret_of(a_pool(replicas=1))
    assert made == secret_of(a_pool(replicas=5))
    assert (made["immutable"], made["type"]) == (True, "agentsessions.dev/host")
    assert set(made["data"]) == {"host.json"}


def test_host_json_says_who_the_host_is_and_how_much_it_holds() -> None:
    told = document(secret_of(a_pool(sessionsPerHost=4, maxQueuedMessages=2)))
    assert (told.namespace, told.pool, told.pool_uid) == (NAMESPACE, "chat", POOL_UID)
    assert (told.sessions_per_host, told.max_queued_messages) == (4, 2)
    assert told.implicit is None, "a host of named sessions only"


def test_host_json_says_how_sessions_without_a_resource_run() -> None:
    told = document(secret_of(a_pool(implicitSessions=True), template_of(agent={"model": "m"})))
    assert told.implicit is not None
    assert told.implicit.agent.model == "m"
    assert told.implicit.limits.recycle_memory == "300Mi"


def test_a_host_has_the_memory_that_its_sessions_need_and_as_much_as_it_may_use() -> None:
    made = build(a_pool(sessionsPerHost=4), template_of(resources={"memory": "1Gi", "cpu": "2"}))
    resources = container(made)["resources"]
    assert resources["limits"]["memory"] == resources["requests"]["memory"] == "1456Mi"
    assert resources["limits"]["cpu"] == "2"


def test_probes_ask_whether_it_takes_sessions_and_whether_it_lives() -> None:
    made = container(build())
    asked = {name: made[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert asked == {"startup": "/ready", "readiness": "/ready", "liveness": "/health"}
    (port,) = made["ports"]
    assert port == {"name": "http", "containerPort": PORT, "protocol": "TCP"}
    assert {made[f"{name}Probe"]["httpGet"]["port"] for name in asked} == {port["name"]}
    patience = made["livenessProbe"]["failureThreshold"] * made["livenessProbe"]["periodSeconds"]
    assert patience >= 60, "a busy host is not a dead one"
    assert made["readinessProbe"]["failureThreshold"] == 1, "a host that drains takes no session from then on"


def test_a_host_is_told_to_serve_and_has_its_drain_before_it_is_killed() -> None:
    made = build(a_pool(drainSeconds=300))
    assert container(made)["args"] == ["serve"]
    assert pod(made)["terminationGracePeriodSeconds"] == 300 + GRACE_RESERVE_SECONDS


def test_labels_and_selectors_of_all_children_agree() -> None:
    pool = a_pool()
    made, service, budget = build(pool, policy="p"), headless_service(pool), disruption_budget(pool)
    assert made["spec"]["selector"] == {"matchLabels": FINDS}
    assert made["spec"]["template"]["metadata"]["labels"] == LABELS | {"agentsessions.dev/network-policy": "p"}
    assert service["spec"]["selector"] == FINDS
    assert budget["spec"] == {"maxUnavailable": 1, "selector": {"matchLabels": FINDS}}
    (spread,) = pod(made)["topologySpreadConstraints"]
    assert spread["labelSelector"] == {"matchLabels": FINDS}
    assert selector(pool) == FINDS


def test_children_are_in_the_pools_namespace_and_go_with_it() -> None:
    pool = a_pool()
    for child in (build(pool), headless_service(pool), disruption_budget(pool), secret_of(pool)):
        meta = child["metadata"]
        assert (meta["namespace"], meta["labels"], meta["ownerReferences"]) == (NAMESPACE, LABELS, [OWNER])


def test_the_service_has_no_address_and_names_hosts_before_they_are_ready() -> None:
    service = headless_service(a_pool())
    assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == ("None", True)
    (port,) = service["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (PORT, "http")
    assert build()["spec"]["serviceName"] == service["metadata"]["name"]


def test_hosts_start_side_by_side_and_are_replaced_one_by_one() -> None:
    spec = build()["spec"]
    assert spec["podManagementPolicy"] == "Parallel"
    assert spec["updateStrategy"] == {"type": "RollingUpdate"}


def test_without_storage_nothing_of_a_host_lasts() -> None:
    made = build()
    assert not {"volumeClaimTemplates", "persistentVolumeClaimRetentionPolicy"} & set(made["spec"])
    local = {volume["name"] for volume in pod(made)["volumes"] if "emptyDir" in volume}
    assert local == {"home", "tmp", "workspace", "state"}


def test_volumes_outlive_a_smaller_pool_and_go_with_the_pool() -> None:
    made = build(template=template_of(workspace={"storage": "5Gi", "storageClassName": "fast"}))
    assert made["spec"]["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Delete", "whenScaled": "Retain"}
    (claim,) = made["spec"]["volumeClaimTemplates"]
    assert claim["metadata"] == {"name": "data"}
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "5Gi"}},
        "storageClassName": "fast",
    }
    local = {volume["name"] for volume in pod(made)["volumes"] if "emptyDir" in volume}
    assert local == {"home", "tmp"}


@given(TEMPLATES)
def test_every_mount_has_a_volume_and_every_volume_a_mount(template: TemplateFields) -> None:
    made = build(template=template)
    there = {volume["name"] for volume in pod(made)["volumes"]}
    there |= {claim["metadata"]["name"] for claim in made["spec"].get("volumeClaimTemplates", [])}
    assert {mount["name"] for mount in container(made)["volumeMounts"]} == there


@given(NAMES)
def test_whatever_the_pool_is_called_its_children_can_be_made(name: str) -> None:
    pool = a_pool(name)
    made = stem(pool)
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", made)
    assert len(made) + len("-0123456789") <= 63, "the label controller-revision-hash"
    assert len(secret_of(pool)["metadata"]["name"]) <= 253


def test_a_pool_that_is_made_anew_and_pools_of_like_names_have_children_of_their_own() -> None:
    body = make_pool()
    again = AgentPool.model_validate(body | {"metadata": body["metadata"] | {"uid": "0" * 8}})
    assert stem(again) != stem(a_pool())


def test_the_name_of_the_children_is_as_readable_as_it_can_be() -> None:
    assert stem(a_pool()) == f"chat-{digest(POOL_UID, 6)}"
    assert stem(a_pool("chat.v2")) == f"chat-v2-{digest(POOL_UID, 6)}"
    assert stem(a_pool("1st")) == f"pool-1st-{digest(POOL_UID, 6)}"
