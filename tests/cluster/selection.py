"""Choosing the cluster: what is asked for by name, else what the machine offers."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from cluster.commands import succeeds
from cluster.errors import ClusterError
from cluster.existing import ExistingProvider
from cluster.kind import KindProvider
from cluster.local.provider import LocalProvider
from cluster.provider import Provider

VARIABLE = "AGENTSESSIONS_CLUSTER"
PROVIDERS: dict[str, Callable[[], Provider]] = {
    "local": LocalProvider,
    "kind": KindProvider,
    "existing": ExistingProvider,
}


def provider() -> Provider:
    """The cluster that this environment asks for. Raises ClusterError for a name that is none."""
    return PROVIDERS[choose(os.environ, has_docker)]()


def choose(environment: Mapping[str, str], docker: Callable[[], bool]) -> str:
    """The provider's name; docker() is asked only if nothing else decides."""
    asked = environment.get(VARIABLE, "")
    if asked:
        if asked not in PROVIDERS:
            raise ClusterError(f"{VARIABLE}={asked}: use one of {', '.join(PROVIDERS)}")
        return asked
    if kubeconfig := environment.get("KUBECONFIG"):
        return _owner(Path(kubeconfig))
    return "kind" if docker() else "local"


def has_docker() -> bool:
    """Whether a Docker engine answers."""
    return succeeds(["docker", "info"])


def _owner(kubeconfig: Path) -> str:
    """A kubeconfig that one of our own clusters wrote stands for that cluster."""
    for name in ("local", "kind"):
        if PROVIDERS[name]().kubeconfig() == kubeconfig.absolute():
            return name
    return "existing"
