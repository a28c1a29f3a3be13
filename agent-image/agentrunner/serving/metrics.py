"""The host's metrics; no label names a session, their number has no bound."""

from prometheus_client import CollectorRegistry, Counter, Gauge

REGISTRY = CollectorRegistry()
refused = Counter("agentsessions_host_refused_total", "Calls without the right token.", ["reason"], registry=REGISTRY)
sessions = Gauge("agentsessions_host_sessions", "Sessions on this host by phase.", ["phase"], registry=REGISTRY)
streams = Gauge("agentsessions_host_streams", "Clients that follow a session now.", registry=REGISTRY)
memory = Gauge("agentsessions_host_sessions_memory_bytes", "Memory of all sessions' processes.", registry=REGISTRY)
