"""A real Kubernetes for development and tests: ours on this machine, kind, or one that exists already."""

from cluster.build import binary
from cluster.errors import ClusterError
from cluster.provider import Provider
from cluster.selection import provider

__all__ = ["ClusterError", "Provider", "binary", "provider"]
