"""An operator whose watches tell it nothing, however often they are opened, is restarted, and goes on."""

import pytest

import cluster
from cluster.local.provider import LocalProvider
from e2e import proxy
from e2e.api import EVENTS, PODS
from e2e.killing import process_of
from e2e.lab import Lab
from e2e.manifests import say
from e2e.operator_pod import NAMESPACE
from e2e.proxy import Json
from e2e.sizes import THOROUGH
from e2e.waiting import eventually, wait_for

_SECONDS = 300
"""Half a minute until an audit finds it, a minute until it counts as dead, another until the kubelet acts on that."""


@pytest.mark.timeout(900)
@pytest.mark.requirement("K01", "K02")
@pytest.mark.ends_operator
@pytest.mark.skipif(not THOROUGH, reason="takes three minutes: `make test-thorough` does")
def test_an_operator_that_hears_nothing_is_restarted(lab: Lab, provider: cluster.Provider) -> None:
    """What watches ask waits without an answer, the lists of the audit and all else go through."""
    if not isinstance(provider, LocalProvider):
        pytest.skip("needs pods whose network is one of this machine")
    uid, restarts = lab.operator.identity()
    pod = lab.operator.pod()
    lab.operator.keep_evidence()
    process = process_of(pod)
    assert process is not None
    with proxy.between(process, filters=(_UNHURT,), routes=(_SILENT, proxy.PASSED_ON)):
        lab.start("unheard", steps=(say("done"),))
        eventually(lambda: _behind(lab), lambda count: count >= 1, "a watch that is behind", _SECONDS)
        wait_for(
            lab.api,
            PODS,
            NAMESPACE,
            str(pod["metadata"]["name"]),
            lambda now: now is not None and now["status"]["containerStatuses"][0]["restartCount"] > restarts,
            "its new beginning",
            _SECONDS,
        )
        assert "status" not in lab.session("unheard"), "nobody has looked at it yet"
    lab.operator.wait_ready()
    assert lab.succeeded("unheard")["status"]["restarts"] == 0
    assert lab.operator.identity() == (uid, restarts + 1)
    assert "Liveness probe failed: HTTP probe failed with statuscode: 503" in _complaints(lab, pod)


_UNHURT: Json = {"name": proxy.FAULT, "typed_config": proxy.fault()}
"""The filter, which does nothing but on the route that says otherwise."""
_SILENT: Json = {
    "match": {"prefix": "/", "headers": [{"name": "user-agent", "string_match": {"prefix": "kopf/"}}]},
    "route": proxy.PASSED_ON["route"],
    "typed_per_filter_config": {
        proxy.FAULT: proxy.fault(delay={"fixed_delay": "3600s", "percentage": {"numerator": 100}})
    },
}


def _behind(lab: Lab) -> float:
    """Return how many sessions the operator's watches have not told it of."""
    name = "agentsessions_watch_objects_behind"
    found = [one for one in lab.operator.metrics() if one.name == name and one.labels["resource"] == "agentsessions"]
    return sum(one.value for one in found)


def _complaints(lab: Lab, pod: Json) -> str:
    """Return what the kubelet has said of the pod's probes."""
    query = {"fieldSelector": f"regarding.uid={pod['metadata']['uid']},reason=Unhealthy"}
    found = lab.api.request("GET", EVENTS.path(NAMESPACE), query=query)["items"]
    return "\n".join(str(one.get("note", "")) for one in found)
