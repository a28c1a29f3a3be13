"""The directory's metrics; no label names a session or a user."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
decisions = Counter(
    "agentsessions_directory_decisions_total", "Requests by what was decided.", ["outcome"], registry=REGISTRY
)
seconds = Histogram(
    "agentsessions_directory_decision_duration_seconds",
    "Time of one decision, waiting for a session included.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 20, 60),
    registry=REGISTRY,
)
reviews = Counter(
    "agentsessions_directory_reviews_total", "Questions to the API server, by kind.", ["kind"], registry=REGISTRY
)
wakes = Counter("agentsessions_directory_wakes_total", "Sleeping sessions that were asked for.", registry=REGISTRY)
relayed = Counter(
    "agentsessions_directory_relayed_streams_total",
    "Streams that began before their session had a host, by how they ended.",
    ["outcome"],
    registry=REGISTRY,
)
relays = Gauge("agentsessions_directory_open_relays", "Such streams that are open.", registry=REGISTRY)
held = Gauge("agentsessions_directory_held_requests", "Requests that wait for their session.", registry=REGISTRY)
