"""Operators and gateways whose wall clock can be set: by libfaketime, which a file tells how wrong it is to be.

The machine's own clock is everybody's, and is left alone. As when a real clock is set, what measures how much time has
gone by (the monotonic clock) is not touched. Local cluster only, where a pod's files can be reached from outside.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path

from cluster import Provider
from e2e.api import DEPLOYMENTS, PODS, Api, Json
from e2e.gateway import SELECTOR
from e2e.killing import kill_process, process_of
from e2e.leadership import two_replicas
from e2e.operator_pod import NAMESPACE, Sample
from e2e.sizes import THOROUGH
from e2e.waiting import eventually
from faults.arena import GATEWAY, Arena

STEP_SECONDS = 300
_LIBRARY, _OFFSET = "/tmp/libfaketime.so.1", "/tmp/clock"


def environment(library: str, offset: str) -> dict[str, str]:
    """Return what makes a program's clock be off by what stands in a file, within two seconds after it was changed."""
    return {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": offset,
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def library() -> Path:
    """Return where the library is on this machine."""
    spec = find_spec("libfaketime")
    assert spec is not None, "libfaketime is not installed: there is one for Linux on x86-64 only"
    assert spec.origin is not None
    (found,) = Path(spec.origin).parent.glob("vendor/**/libfaketime.so.1")
    return found


def stepped(off: str) -> str:
    """Return what is to stand in the file next: five minutes ahead, or the right time if it was ahead before."""
    return "+0s" if off == f"+{STEP_SECONDS}s" else f"+{STEP_SECONDS}s"


@contextmanager
def settable(arena: Arena) -> Iterator[None]:
    """Have two operators whose clocks can be set, and gateways in a thorough run; afterwards all as it was."""
    variables = [{"name": name, "value": value} for name, value in environment(_LIBRARY, _OFFSET).items()]
    with two_replicas(arena.lab, extraEnv=variables), _gateways(arena, variables) if THOROUGH else nullcontext():
        try:
            for pod, container in _clocks(arena):
                _preload(arena.provider, pod, container)
            eventually(lambda: [is_settable(*one) for one in _clocks(arena)], all, "processes with the library")
            arena.heal()
            yield
        finally:  # whoever takes them down reads their logs before
            arena.lab.operator.wait_ready()


def _clocks(arena: Arena) -> list[tuple[Json, str]]:
    """Return the pods of this moment whose clocks are to be set, and in which container."""
    found = [(pod, "operator") for pod in arena.lab.operator.pods()]
    return found + ([(pod, "directory") for pod in directories(arena.api)] if THOROUGH else [])


def directories(api: Api) -> list[Json]:
    """Return the gateways' pods that have not ended, those that go included."""
    found = api.list(PODS, NAMESPACE, labelSelector=SELECTOR)
    return [pod for pod in found if pod["status"].get("phase") in ("Pending", "Running")]


def is_settable(pod: Json, container: str) -> bool:
    """Return whether a container's clock can be set."""
    process = process_of(pod, container)
    with suppress(OSError):  # it has just ended
        return process is not None and _LIBRARY in Path(f"/proc/{process}/maps").read_text()
    return False


def step(pod: Json, container: str) -> int:
    """Set a container's clock by five minutes: forward, or back if it was forward before; return how far it is off."""
    assert is_settable(pod, container), f"the clock of {container} in {pod['metadata']['name']} cannot be set"
    file = _inside(pod, container, _OFFSET)
    off = stepped(file.read_text() if file.exists() else "")
    file.write_text(off)
    return int(off.strip("+s"))


def is_ahead(samples: list[Sample], seconds: int) -> bool:
    """Return whether an operator finds its own clock that far ahead of the API server's."""
    ahead = [one.value for one in samples if one.name == "agentsessions_clock_ahead_seconds"]
    return bool(ahead) and abs(ahead[0] - seconds) < STEP_SECONDS / 2


@contextmanager
def _gateways(arena: Arena, variables: list[Json]) -> Iterator[None]:
    """Have gateways whose directories have these variables."""
    _vary(arena.api, variables)
    try:
        yield
    finally:
        _vary(arena.api, [])
        arena.open()


def _vary(api: Api, variables: list[Json]) -> None:
    """Give the directories these variables and no others, and wait until all have them."""
    deployment = api.get(DEPLOYMENTS, NAMESPACE, GATEWAY)
    assert deployment is not None
    containers = deployment["spec"]["template"]["spec"]["containers"]
    changed = [one | ({"env": variables} if one["name"] == "directory" else {}) for one in containers]
    api.patch(DEPLOYMENTS, NAMESPACE, GATEWAY, {"spec": {"template": {"spec": {"containers": changed}}}})
    # Not by the Deployment's status: what it counts as ready may be of before.
    number = deployment["spec"]["replicas"]
    eventually(lambda: _variables(api), lambda found: found == [variables] * number, "gateways with these variables")


def _variables(api: Api) -> list[list[Json]]:
    """Return the variables of each directory."""
    containers = [one for pod in directories(api) for one in pod["spec"]["containers"]]
    return [one.get("env", []) for one in containers if one["name"] == "directory"]


def _preload(provider: Provider, pod: Json, container: str) -> None:
    """Give a container the library: what is in its /tmp outlives its process, and the next one begins with it."""
    _inside(pod, container, _LIBRARY).write_bytes(library().read_bytes())
    kill_process(provider, pod, container, sign=signal.SIGKILL)


def _inside(pod: Json, container: str, path: str) -> Path:
    """Return a path as a container's process sees it."""
    process = process_of(pod, container)
    assert process is not None, f"no process of {container} on this machine"
    return Path(f"/proc/{process}/root{path}")
