"""What stands beside a pool's hosts: the Service that a StatefulSet needs, and a bound on disruptions."""

from agentsessions.api.base import Json
from agentsessions.api.host import PORT
from agentsessions.api.pool import AgentPool
from agentsessions.api.template import DEFAULT_DISRUPTION, Disruption
from agentsessions.builders.pool.meta import child_metadata, selector, stem

_UNAVAILABLE: dict[Disruption, int | str] = {"Safe": "100%", "AtTurnBoundary": 1, "Never": 0}


def headless_service(pool: AgentPool) -> Json:
    """Return the Service that gives hosts their names in DNS; traffic goes by the gateway, not through it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(pool, stem(pool)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": selector(pool),
            "ports": [{"name": "http", "port": PORT, "protocol": "TCP", "targetPort": "http"}],
        },
    }


def disruption_budget(pool: AgentPool, intent: Disruption = DEFAULT_DISRUPTION, *, held: bool = False) -> Json:
    """Return the bound: node drains and the like take one host at a time, any number, or none; `held` means none.

    With `Never` a host that is not ready may go, as a session's own pod may: it would block drains for nothing. What is
    `held` may not: what is on its disk is nowhere else.
    """
    spec = {
        "maxUnavailable": 0 if held else _UNAVAILABLE[intent],
        "selector": {"matchLabels": selector(pool)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow" if intent == "Never" and not held else "IfHealthyBudget",
    }
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": child_metadata(pool, stem(pool)),
        "spec": spec,
    }
