"""What an agent can reach, tried from inside its pod by its own tool; and the same from a pod without our policy."""

import json
from typing import Any

import pytest

from e2e import manifests
from e2e.api import ENDPOINTS, NODES, PODS, POLICIES, SERVICES, Api
from e2e.lab import Lab, gated
from e2e.manifests import TOOL_RESULT, bash
from e2e.waiting import wait_for

PROBE = """
import json, socket, sys
def reach(host, port):
    try:
        socket.create_connection((host, port), 4).close()
        return "open"
    except socket.gaierror:
        return "no such name"
    except OSError as error:
        return "dropped" if isinstance(error, TimeoutError) else type(error).__name__
print(json.dumps({name: reach(*where) for name, where in json.loads(sys.argv[1]).items()}))
"""
MODEL = "model.model-standin.svc.cluster.local"


def neighbour(lab: Lab, name: str = "neighbour") -> str:
    """Start a pod that answers on port 8080; return its address."""
    return str(lab.neighbour(name)["status"]["podIP"])


def targets(api: Api, neighbour_address: str) -> dict[str, tuple[str, int]]:
    """Return where to knock: the model, a pod, the API server by its Service, and every node."""
    service = api.get(SERVICES, "default", "kubernetes")
    assert service is not None
    out: dict[str, tuple[str, int]] = {
        "model": (MODEL, 80),
        "pod": (neighbour_address, 8080),
        "API server": (service["spec"]["clusterIP"], 443),
        "API server by name": ("kubernetes.default.svc.cluster.local", 443),
    }
    for endpoint in api.list(ENDPOINTS, "default", labelSelector="kubernetes.io/service-name=kubernetes"):
        address = endpoint["endpoints"][0]["addresses"][0]
        out["API server at its node"] = (address, endpoint["ports"][0]["port"])
    for node in api.list(NODES):
        name = node["metadata"]["name"]
        address = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
        out[f"kubelet of {name}"] = (address, 10250)
    return out


def from_agent(lab: Lab, where: dict[str, Any], **spec: Any) -> dict[str, str]:
    """Knock from an agent's Bash tool; return what came of it."""
    command = f"python3 -c '{PROBE}' '{json.dumps(where)}'"
    lab.start(steps=(bash(command, timeout=120_000), {"text": TOOL_RESULT}), **spec)
    answer: dict[str, str] = json.loads(lab.succeeded()["status"]["result"]["text"])
    return answer


def from_neighbour(lab: Lab, where: dict[str, Any], name: str = "neighbour") -> dict[str, str]:
    """Knock from a pod that no policy of ours selects."""
    answer: dict[str, str] = json.loads(lab.execute(name, manifests.SERVER_PYTHON, "-c", PROBE, json.dumps(where)))
    return answer


@pytest.mark.requirement("H20", "K01")
def test_an_agent_reaches_its_model_and_nothing_else(lab: Lab) -> None:
    """The control, from a pod beside it, reaches all of it: so it is the policy that drops, not the network."""
    where = targets(lab.api, neighbour(lab))
    assert len(where) >= 6
    assert set(from_neighbour(lab, where).values()) == {"open"}
    reached = from_agent(lab, where)
    assert reached.pop("model") == "open"
    assert set(reached.values()) == {"dropped"}, reached


@pytest.mark.requirement("H20")
def test_declared_egress_opens_exactly_that(lab: Lab) -> None:
    """One pod by label and port, in addition to the model; its sister stays out of reach."""
    where = {"wanted": (neighbour(lab, "wanted"), 8080), "other": (neighbour(lab, "other"), 8080)}
    reached = from_agent(lab, where, networkPolicy={"egress": [{"podLabels": {"app": "wanted"}, "port": 8080}]})
    assert reached == {"wanted": "open", "other": "dropped"}


@pytest.mark.requirement("H20", "H25")
def test_nobody_reaches_into_an_agents_pod(lab: Lab) -> None:
    """The tool listens and reaches itself, so something is there to be reached."""
    serve = "python3 -m http.server 9000 >/dev/null 2>&1 & until [ -e /tmp/go ]; do sleep 0.2; done; kill %1"
    lab.start(steps=(bash(serve, timeout=600_000), manifests.say("done")))
    pod = lab.running()
    found = lab.api.get(PODS, lab.namespace, pod)
    assert found is not None
    where = {"agent": (found["status"]["podIP"], 9000)}
    lab.execute(pod, "sh", "-c", "until curl -sf http://127.0.0.1:9000/ >/dev/null; do sleep 0.2; done")
    neighbour(lab)
    assert from_neighbour(lab, where) == {"agent": "dropped"}
    lab.open_gate(pod)
    lab.succeeded()


@pytest.mark.requirement("H20", "K02")
def test_a_policy_that_somebody_deletes_comes_back(lab: Lab) -> None:
    """The agent is at work all the while."""
    lab.start(steps=(gated(), manifests.say("done")))
    pod = lab.running()
    (policy,) = lab.api.list(POLICIES, lab.namespace)
    name, uid = policy["metadata"]["name"], policy["metadata"]["uid"]
    lab.api.delete(POLICIES, lab.namespace, name)
    back = wait_for(
        lab.api, POLICIES, lab.namespace, name, lambda p: p is not None and p["metadata"]["uid"] != uid, "its return"
    )
    assert back is not None
    assert back["spec"] == policy["spec"]
    lab.open_gate(pod)
    lab.succeeded()


@pytest.mark.requirement("H20", "K02")
def test_a_policy_that_somebody_widens_is_set_right(lab: Lab) -> None:
    """Its name stands for its content."""
    lab.start(steps=(gated(), manifests.say("done")))
    pod = lab.running()
    (policy,) = lab.api.list(POLICIES, lab.namespace)
    name, spec = policy["metadata"]["name"], policy["spec"]
    lab.api.patch(POLICIES, lab.namespace, name, {"spec": {"egress": [{}]}})
    wait_for(lab.api, POLICIES, lab.namespace, name, lambda p: p is not None and p["spec"] == spec, "its repair")
    lab.open_gate(pod)
    lab.succeeded()


@pytest.mark.requirement("H20")
def test_sessions_with_equal_needs_share_a_policy(lab: Lab) -> None:
    """Its name is a hash of its content, and every pod carries that hash."""
    for name in ("a", "b"):
        lab.start(name, podRetentionPolicy="Retain")
    lab.start("c", podRetentionPolicy="Retain", networkPolicy={"egress": [{"cidr": "192.0.2.0/24", "port": 443}]})
    labels = {}
    for name in ("a", "b", "c"):
        (pod,) = lab.pods(lab.succeeded(name))
        labels[name] = pod["metadata"]["labels"]["agentsessions.dev/network-policy"]
    assert labels["a"] == labels["b"] != labels["c"]
    policies = [p["metadata"]["labels"] for p in lab.api.list(POLICIES, lab.namespace)]
    assert {p["agentsessions.dev/network-policy"] for p in policies} == set(labels.values())
