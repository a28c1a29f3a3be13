"""The hosts of a pool: locked down as a session's pod, with what they are told, and what rolls them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsessions.api.config import Gateway
from agentsessions.api.host import PORT, START_SECONDS
from agentsessions.api.template import KEY_VARIABLES, EnvVar, TemplateFields
from agentsessions.builders.pod import session_pod
from agentsessions.builders.pool.hosts import GRACE_RESERVE_SECONDS, hosts
from agentsessions.policies.capacity import host_size
from agentsessions.policies.resolve import resolve
from unit.make import BASE_URL, CONFIG, make_session
from unit.pools import KEYS, WITH_GATEWAY, a_pool, build, container, hash_of, pod, template_of, variables
from unit.strategies import TEMPLATES


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


@pytest.mark.requirement("H33")
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
        "AGENTSESSIONS_GRACE_SECONDS": str(50 + GRACE_RESERVE_SECONDS - 1),
        "AGENTSESSIONS_PROVE_CLI": "true",
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


@pytest.mark.requirement("H36")
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
    starting = made["startupProbe"]["failureThreshold"] * made["startupProbe"]["periodSeconds"]
    assert starting == START_SECONDS, "one of many that start at a time is not a hung one"
    assert made["readinessProbe"]["failureThreshold"] == 1, "a host that drains takes no session from then on"


def test_a_host_is_told_to_serve_and_has_its_drain_before_it_is_killed() -> None:
    made = build(a_pool(drainSeconds=300))
    assert container(made)["args"] == ["serve"]
    assert pod(made)["terminationGracePeriodSeconds"] == 300 + GRACE_RESERVE_SECONDS


def test_hosts_start_side_by_side_and_are_replaced_one_by_one() -> None:
    spec = build()["spec"]
    assert spec["podManagementPolicy"] == "Parallel"
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}


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
