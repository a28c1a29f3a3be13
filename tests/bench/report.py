"""Percentiles, a table for a person, and a document with the facts of the machine. Pure but `facts`."""

import math
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.measure import FIRST_EVENT, Times
from e2e.api import NODES, Api

MEASURED = {
    "podCreated": "from the moment the create request of the AgentSession is sent until a watch of the pods shows its "
    "pod, both by the clock of the measuring process",
    "firstAgentEvent": f"from the same moment until the agent's log line `{FIRST_EVENT}`, by the node's clock: image "
    "on the node, pod scheduled and started, runner and CLI started, CLI's first message read; of a session that was "
    "restarted, the last attempt's",
}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summary(count: int, times: Sequence[Times]) -> dict[str, Any]:
    """Return the percentiles of sessions that were started `count` at once, in seconds; failed ones have no event."""
    measured = {
        "podCreated": [t.pod - t.created for t in times],
        "firstAgentEvent": [t.agent - t.created for t in times if not t.failed],
    }
    figures = {
        name: {"p50": round(percentile(v, 0.5), 3), "p99": round(percentile(v, 0.99), 3), "max": round(max(v), 3)}
        for name, v in measured.items()
        if v
    }
    ends = {"restarts": sum(t.restarts for t in times), "failed": sum(t.failed for t in times)}
    return {"atOnce": count, "sessions": len(times), **ends, "seconds": figures}


def facts(api: Api, provider: str, commit: str) -> dict[str, Any]:
    """Return what the figures depend on; nothing that names the machine or its owner."""
    version = api.request("GET", "/version")
    nodes = [node["status"] for node in api.list(NODES)]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "cluster": provider,
        "kubernetes": version["gitVersion"],
        "nodes": [
            {
                "cpu": node["capacity"]["cpu"],
                "memory": node["capacity"]["memory"],
                "kernel": node["nodeInfo"]["kernelVersion"],
                "runtime": node["nodeInfo"]["containerRuntimeVersion"],
            }
            for node in nodes
        ],
        "machine": {"cores": os.cpu_count(), "processor": _processor(), "python": platform.python_version()},
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def _processor() -> str:
    """Return the model of this machine's processor, if Linux tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def table(summaries: Sequence[dict[str, Any]]) -> str:
    """Return the summaries for a person."""
    head = f"{'at once':>8} {'sessions':>9} | {'pod created':^23} | {'first agent event':^23}"
    units = f"{'':>8} {'':>9} | {'p50':>7} {'p99':>7} {'max':>7} | {'p50':>7} {'p99':>7} {'max':>7}   seconds"
    rows = [_row(entry) for entry in summaries]
    return "\n".join([head, units, "-" * len(head), *rows])


def _row(entry: dict[str, Any]) -> str:
    """Return one line of the table."""
    cells = " | ".join(_cell(entry["seconds"].get(name)) for name in ("podCreated", "firstAgentEvent"))
    troubles = ", ".join(f"{entry[name]} {name}" for name in ("restarts", "failed") if entry[name])
    return f"{entry['atOnce']:>8} {entry['sessions']:>9} | {cells}   {troubles}".rstrip()


def _cell(figures: dict[str, float] | None) -> str:
    """Return the percentiles of one quantity; dashes where nothing could be measured."""
    return " ".join(f"{figures[name]:>7.2f}" if figures else f"{'-':>7}" for name in ("p50", "p99", "max"))
