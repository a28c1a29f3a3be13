"""What stands beside the hosts of a pool: names, labels, the Service, the bound on disruptions, and host.json."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsessions.api.base import Json
from agentsessions.api.host import PORT
from agentsessions.api.names import digest
from agentsessions.api.pool import AgentPool
from agentsessions.builders.pool.meta import selector, stem
from agentsessions.builders.pool.neighbours import disruption_budget, headless_service
from unit.lasting import POOL_UID, make_pool
from unit.make import NAMESPACE
from unit.pools import a_pool, build, document, hash_of, pod, secret_of, template_of

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
    items = [{"key": "host.json", "path": "host.json"}]
    assert mounted == {"secretName": changed["metadata"]["name"], "defaultMode": 0o440, "items": items}
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


def test_labels_and_selectors_of_all_children_agree() -> None:
    pool = a_pool()
    made, service, budget = build(pool, policy="p"), headless_service(pool), disruption_budget(pool)
    assert made["spec"]["selector"] == {"matchLabels": FINDS}
    assert made["spec"]["template"]["metadata"]["labels"] == LABELS | {"agentsessions.dev/network-policy": "p"}
    assert service["spec"]["selector"] == FINDS
    policy = {"unhealthyPodEvictionPolicy": "IfHealthyBudget"}
    assert budget["spec"] == {"maxUnavailable": 1, "selector": {"matchLabels": FINDS}} | policy
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
