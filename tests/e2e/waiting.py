"""Waiting for the cluster: by watches, or by asking again what no watch tells. A wait that fails says what it saw."""

import time
from collections.abc import Callable
from typing import TypeVar

import urllib3
import yaml

from e2e.api import Api, ApiError, Json, Resource

PATIENCE = 150
"""Seconds; generous, since the tests share two cores with the cluster that they test."""

Test = Callable[[Json | None], bool]
T = TypeVar("T")


class WaitFailed(AssertionError):
    """What was waited for did not come to be."""


def wait_for(
    api: Api, kind: Resource, namespace: str | None, name: str, test: Test, what: str, seconds: float = PATIENCE
) -> Json | None:
    """Wait until `test` holds for the object (None: it is gone) and return it; raises WaitFailed."""
    deadline = time.monotonic() + seconds
    last: Json | None = None
    while (left := deadline - time.monotonic()) > 0:
        selector = {"fieldSelector": f"metadata.name={name}"}
        listed = api.request("GET", kind.path(namespace), query=selector)
        last = next(iter(listed["items"]), None)
        if test(last):
            return last
        version = listed["metadata"]["resourceVersion"]
        try:
            for event, seen in api.watch(kind, namespace, int(left) + 1, resourceVersion=version, **selector):
                if event == "BOOKMARK":
                    continue
                last = None if event == "DELETED" else seen
                if test(last):
                    return last
        except ApiError as error:
            if error.code != 410:  # the version is too old to watch from: look again
                raise
        except urllib3.exceptions.HTTPError:
            continue  # the API server has ended, or its store: look again
    raise WaitFailed(
        f"{kind.plural} {namespace}/{name}: {what} did not happen in {seconds:.0f} s; it is:\n{show(last)}"
    )


def eventually(ask: Callable[[], T], test: Callable[[T], bool], what: str, seconds: float = PATIENCE) -> T:
    """Ask until `test` holds for the answer, and return it; for metrics and logs. Raises WaitFailed."""
    deadline = time.monotonic() + seconds
    while not test(answer := ask()):
        if time.monotonic() > deadline:
            raise WaitFailed(f"{what} did not happen in {seconds:.0f} s; it is: {answer}")
        time.sleep(0.5)
    return answer


def show(thing: Json | None) -> str:
    """Return an object as a person wants to read it after a failure."""
    if thing is None:
        return "  gone, or never there"
    meta = {k: v for k, v in thing.get("metadata", {}).items() if k in ("name", "generation", "deletionTimestamp")}
    return yaml.safe_dump({"metadata": meta, "status": thing.get("status", {})}, sort_keys=False)
