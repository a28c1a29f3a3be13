"""kubectl on the test cluster, and namespaces that go away again."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import cluster

Json = dict[str, Any]


class KubectlError(Exception):
    """kubectl failed; the text is what it said."""


@cache
def environment() -> dict[str, str]:
    """Return the environment in which kubectl and Helm reach the test cluster."""
    return {**os.environ, "KUBECONFIG": str(cluster.provider().kubeconfig())}


def run(*arguments: str, stdin: Json | None = None) -> str:
    """Run kubectl, with an object on its standard input; return its output or raise `KubectlError`."""
    command = [str(cluster.binary("kubectl")), *arguments]
    text = None if stdin is None else json.dumps(stdin)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, env=environment())
    if done.returncode != 0:
        raise KubectlError(f"{done.stdout}{done.stderr}")
    return done.stdout


def get(*arguments: str) -> Json:
    """Return an object, or a list of them, as JSON."""
    found: Json = json.loads(run("get", *arguments, "--output", "json"))
    return found


def apply(*manifests: Json) -> None:
    """Apply manifests on the server."""
    run("apply", "--server-side", "--filename", "-", stdin={"apiVersion": "v1", "kind": "List", "items": [*manifests]})


@contextmanager
def namespace(name: str) -> Iterator[str]:
    """Make a namespace that enforces Pod Security "restricted", and delete it at the end."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    try:
        yield name
    finally:
        run("delete", "namespace", name, "--wait=false")


def events(namespace: str) -> list[str]:
    """Return the messages of the namespace's events, for the text of a failure."""
    found = get("events", "--namespace", namespace)["items"]
    return [f"{event['involvedObject']['name']}: {event['reason']}: {event['message']}" for event in found]
