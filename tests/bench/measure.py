"""Starts sessions at once and takes the times of what happens to them."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from e2e import manifests
from e2e.api import NAMESPACES, PODS, SESSIONS, Api, Json, condition
from e2e.waiting import wait_for

FIRST_EVENT = "cliStarted"
"""The line of the agent's log that stands for its first event: the CLI runs and has spoken."""

_UID = "agentsessions.dev/session-uid"
_SECONDS = 900
_SMALL = {"cpu": "10m", "memory": "64Mi", "ephemeralStorage": "64Mi"}
"""What is set aside for a session here, so that many fit on small nodes; limits are the usual ones."""


@dataclass
class Times:
    """One session's times, as seconds since the Unix epoch; only `agent` is by the node's clock."""

    created: float
    pod: float = 0.0
    agent: float = 0.0
    restarts: int = 0
    failed: bool = False


@dataclass
class Run:
    """Sessions by uid; filled from several threads, each of which owns one field."""

    times: dict[str, Times] = field(default_factory=dict)
    pods: dict[str, float] = field(default_factory=dict)


@contextmanager
def namespace(api: Api, name: str) -> Iterator[str]:
    """Make a namespace under Pod Security "restricted", and delete it with all that is in it."""
    api.create(manifests.namespace(name))
    try:
        yield name
    finally:
        api.delete(NAMESPACES, None, name)
        wait_for(api, NAMESPACES, None, name, lambda found: found is None, "the end of the namespace")


def start_at_once(api: Api, space: str, count: int, round_number: int) -> list[Times]:
    """Create sessions at once and return their times when all have finished, well or not."""
    run, done = Run(), threading.Event()
    version = api.request("GET", PODS.path(space))["metadata"]["resourceVersion"]
    watcher = threading.Thread(target=_watch_pods, args=(api, space, version, run, done))
    watcher.start()
    names = [f"bench-{count}-{round_number}-{number}" for number in range(count)]
    with ThreadPoolExecutor(min(count, 16)) as pool:
        for uid, created in pool.map(lambda name: _create(api, space, name), names):
            run.times[uid] = Times(created)
    for name in names:
        _finish(api, space, name, run)
    done.set()
    watcher.join()
    for uid, times in run.times.items():
        times.pod = run.pods[uid]
    return list(run.times.values())


def _create(api: Api, space: str, name: str) -> tuple[str, float]:
    """Create one session; return its uid and when the request was sent."""
    manifest = manifests.session(space, name, resources={"requests": _SMALL}, podRetentionPolicy="Retain")
    sent = time.time()
    return api.create(manifest)["metadata"]["uid"], sent


def _watch_pods(api: Api, space: str, version: str, run: Run, done: threading.Event) -> None:
    """Note when each session's pod was first seen."""
    while not done.is_set():
        for event, pod in api.watch(PODS, space, 5, resourceVersion=version, allowWatchBookmarks="true"):
            version = pod["metadata"]["resourceVersion"]
            if event == "ADDED":
                run.pods.setdefault(pod["metadata"]["labels"].get(_UID, ""), time.time())
            if done.is_set():
                return


def _finish(api: Api, space: str, name: str, run: Run) -> None:
    """Wait for the end of a session, then read the log of its last agent, which is kept."""
    found = wait_for(api, SESSIONS, space, name, _is_over, "the end of the session", _SECONDS)
    assert found is not None
    times, status = run.times[found["metadata"]["uid"]], found["status"]
    times.restarts = status["restarts"]
    times.failed = condition(found, "Succeeded")["status"] != "True"
    if not times.failed:
        times.agent = first_event(api.text(PODS.path(space, f"{status['host']['pod']}/log")))


def first_event(log: str) -> float:
    """Return when the agent's first event was written."""
    events = (json.loads(line) for line in log.splitlines())
    return next(_epoch(event["time"]) for event in events if event["event"] == FIRST_EVENT)


def _is_over(session: Json | None) -> bool:
    """Return whether the session has finished."""
    return session is not None and "completionTime" in session.get("status", {})


def _epoch(text: str) -> float:
    """Return a time in ISO 8601 as seconds since the Unix epoch."""
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()
