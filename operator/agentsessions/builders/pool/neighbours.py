"""What stands beside a pool's hosts: the Service that a StatefulSet needs, and a bound on disruptions."""

from agentsessions.api.base import Json
from agentsessions.api.host import PORT
from agentsessions.api.pool import AgentPool
from agentsessions.builders.pool.meta import child_metadata, selector, stem


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


def disruption_budget(pool: AgentPool, unavailable: int = 1) -> Json:
    """Return the bound: node drains and the like take one host at a time, or none."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": child_metadata(pool, stem(pool)),
        "spec": {"maxUnavailable": unavailable, "selector": {"matchLabels": selector(pool)}},
    }
