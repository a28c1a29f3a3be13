"""The host's metrics; no label names a session, their number has no bound."""

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()
refused = Counter("agentsessions_host_refused_total", "Calls without the right token.", ["reason"], registry=REGISTRY)
sessions = Gauge("agentsessions_host_sessions", "Sessions on this host by phase.", ["phase"], registry=REGISTRY)
streams = Gauge("agentsessions_host_streams", "Clients that follow a session now.", registry=REGISTRY)
memory = Gauge("agentsessions_host_sessions_memory_bytes", "Memory of all sessions' processes.", registry=REGISTRY)
recycled = Counter(
    "agentsessions_host_processes_recycled_total",
    "Processes that were replaced at the end of a turn: by memory, by age, or since settings had changed.",
    ["reason"],
    registry=REGISTRY,
)
for _why in ("memory", "age", "settings"):  # from 0 on: Prometheus sees no increase in a series that begins with 1
    recycled.labels(_why)
store_failures = Counter(
    "agentsessions_host_store_failures_total",
    "Attempts to bring the session store up to the transcripts that failed: unreachable or refused.",
    ["kind"],
    registry=REGISTRY,
)
for _kind in ("unreachable", "refused"):
    store_failures.labels(_kind)
entries_copied = Counter(
    "agentsessions_host_entries_copied_total",
    "Entries of transcripts that the session store took, those that were written anew with them.",
    registry=REGISTRY,
)
entries_waiting = Gauge(
    "agentsessions_host_entries_waiting", "Entries of transcripts that wait for the session store.", registry=REGISTRY
)
repairs = Counter(
    "agentsessions_host_store_repairs_total",
    "Transcripts of which the session store had lost something, and which were written anew.",
    registry=REGISTRY,
)
settle_seconds = Histogram(
    "agentsessions_host_settle_duration_seconds",
    "Time from the end of a turn until the session store had it, or was waited for no longer.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
    registry=REGISTRY,
)
archive_bytes = Counter(
    "agentsessions_host_archive_bytes_total",
    "Bytes of workspaces, compressed, that were saved to the bucket or restored from it.",
    ["direction"],
    registry=REGISTRY,
)
archive_seconds = Histogram(
    "agentsessions_host_archive_duration_seconds",
    "Time to save a workspace that had changed, or to restore one.",
    ["direction"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
    registry=REGISTRY,
)


def archived(direction: Literal["saved", "restored"], size: int, seconds: float) -> None:
    """Count a workspace that went to the bucket or came from it; `size` in bytes."""
    archive_bytes.labels(direction).inc(size)
    archive_seconds.labels(direction).observe(seconds)
