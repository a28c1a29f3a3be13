"""Faults use the cluster, the operator and the namespaces of the tests on a real cluster."""

pytest_plugins = ["e2e.fixtures"]
